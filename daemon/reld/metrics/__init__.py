"""What Prometheus is told: /metrics and the file for node_exporter. prometheus_client is imported only when asked."""

"""What reld must not forget, on disk: the state, snapshots, receipts and the audit."""

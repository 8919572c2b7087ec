"""`relctl init`: what runs today and what lies in the project's directory become a first config."""

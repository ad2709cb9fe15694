"""What happens as time passes: builds, instances, health checks and requests that wait. No HTTP in here."""

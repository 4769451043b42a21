"""The coordinator's gRPC servers: authenticate, translate, nothing else."""

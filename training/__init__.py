"""Scripts that train, compare and publish BILMA models, and the modules they share."""

"""The kind `landscape`: losses on a grid along directions in weight space."""

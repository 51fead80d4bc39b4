"""What runs in the worker process. Only the standard library, and of that little: it has to be ready at once."""

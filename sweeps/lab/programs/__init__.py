"""Programs of the user's as units: started, followed, ended with all that they have started, and read."""

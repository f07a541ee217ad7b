"""`liteferry compare`: two models on the same rows, without a job."""

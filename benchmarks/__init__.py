"""What the program costs, beside the published estimator, a matrix product and vLLM, measured in one run."""

"""SageMaker and its runtime: the vendor's operations, translated into jobs and deployments that really run."""

"""What is asked of a trained pair: samples, codes, scores, forecasts."""

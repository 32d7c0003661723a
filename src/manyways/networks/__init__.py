"""Networks: the encoder of observations, the code's layer, what decodes their sum; normalisation."""

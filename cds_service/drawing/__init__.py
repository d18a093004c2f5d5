"""
What a card rests on, drawn and told: trends with the rules' thresholds, treatments on the same time axis, trails.

Facts and outcomes in, plain data and SVG out. Knows neither web nor clock nor disk.
"""

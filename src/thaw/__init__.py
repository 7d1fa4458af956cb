"""thaw: freeze a pretrained network, fine-tune it, or something between, and how sure can you be?"""

"""Files of `torch.save` by others, read without running anything of them."""

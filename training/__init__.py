"""Where do the weights come from? Straight-line programs; serving never imports them."""

"""imagemill: labelled images in, validated and versioned TFRecord datasets out."""

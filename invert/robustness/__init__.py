"""What embedding can and cannot do (after Image2StyleGAN): one file per question, the table of them is in `parts`."""

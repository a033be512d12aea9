"""A page on this machine, `fastcnn draw`: one draws a digit, and sees at once what a network makes of it."""

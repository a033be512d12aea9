"""A test for every capability, and for every mistake, of the texts that the project grew out of; the README's table is made of them."""

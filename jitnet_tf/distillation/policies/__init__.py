"""Update policies: the choice of frames that the student is trained on, a file each."""

// weft:cflags -O3 -msimd128
// Classifies an image with a small neural network.
#include "../nn/infer.c"

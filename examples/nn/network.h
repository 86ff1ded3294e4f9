/*
 * network.h: inference of a small convolutional network over a 28 x 28 grey image, in 8-bit integers with 32-bit sums, so
 * that every machine computes the same numbers. Weights and images come from a seed: what it says means nothing, but
 * exactly that.
 */
#ifndef NETWORK_H
#define NETWORK_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 28, FIRST = 8, SECOND = 16, CLASSES = 10 };

typedef struct {
	int8_t first[FIRST][1][3][3], second[SECOND][FIRST][3][3], dense[CLASSES][SECOND * 5 * 5];
	int32_t first_bias[FIRST], second_bias[SECOND], dense_bias[CLASSES];
} network;

static inline uint32_t network_random(uint64_t *state) {
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*state >> 33);
}

static inline void network_weights(int8_t *weights, size_t n, uint64_t *state) {
	for (size_t i = 0; i < n; i++) weights[i] = (int8_t)((int)(network_random(state) % 33) - 16);
}

static inline void network_make(network *net, uint64_t seed) {
	uint64_t state = seed;
	network_weights(&net->first[0][0][0][0], sizeof net->first, &state);
	network_weights(&net->second[0][0][0][0], sizeof net->second, &state);
	network_weights(&net->dense[0][0], sizeof net->dense, &state);
	for (int i = 0; i < FIRST; i++) net->first_bias[i] = (int32_t)(network_random(&state) % 257) - 128;
	for (int i = 0; i < SECOND; i++) net->second_bias[i] = (int32_t)(network_random(&state) % 257) - 128;
	for (int i = 0; i < CLASSES; i++) net->dense_bias[i] = (int32_t)(network_random(&state) % 257) - 128;
}

/* network_image draws a picture of a few bright strokes. */
static inline void network_image(uint8_t image[SIDE][SIDE], uint64_t seed) {
	uint64_t state = seed ^ 0x9e3779b97f4a7c15ull;
	memset(image, 0, SIDE * SIDE);
	for (int stroke = 0; stroke < 4; stroke++) {
		int x = 4 + (int)(network_random(&state) % 20), y = 4 + (int)(network_random(&state) % 20);
		for (int i = 0; i < 14; i++) {
			image[y][x] = 127;
			x += (int)(network_random(&state) % 3) - 1;
			y += (int)(network_random(&state) % 3) - 1;
			x = x < 0 ? 0 : x >= SIDE ? SIDE - 1 : x;
			y = y < 0 ? 0 : y >= SIDE ? SIDE - 1 : y;
		}
	}
}

/* network_layer is a 3 x 3 convolution, its positive part scaled down to 8 bits, and the maximum of every 2 x 2 of it. */
static inline void network_layer(const uint8_t *in, int channels, int side, const int8_t *weights, const int32_t *bias, int outputs,
	int shift, uint8_t *out) {
	int after = side - 2, pooled = after / 2;
	for (int o = 0; o < outputs; o++)
		for (int y = 0; y < pooled; y++)
			for (int x = 0; x < pooled; x++) {
				int32_t most = 0;
				for (int part = 0; part < 4; part++) {
					int top = 2 * y + part / 2, left = 2 * x + part % 2;
					int32_t sum = bias[o];
					for (int c = 0; c < channels; c++)
						for (int k = 0; k < 9; k++)
							sum += weights[(o * channels + c) * 9 + k] * in[(c * side + top + k / 3) * side + left + k % 3];
					if (sum > most) most = sum;
				}
				most >>= shift;
				out[(o * pooled + y) * pooled + x] = (uint8_t)(most > 127 ? 127 : most);
			}
}

/* network_run gives a score to each class and returns the class with the highest one. */
static inline int network_run(const network *net, uint8_t image[SIDE][SIDE], int32_t scores[CLASSES]) {
	uint8_t first[FIRST * 13 * 13], second[SECOND * 5 * 5];
	int best = 0;
	network_layer(&image[0][0], 1, SIDE, &net->first[0][0][0][0], net->first_bias, FIRST, 4, first);
	network_layer(first, FIRST, 13, &net->second[0][0][0][0], net->second_bias, SECOND, 6, second);
	for (int c = 0; c < CLASSES; c++) {
		scores[c] = net->dense_bias[c];
		for (size_t i = 0; i < sizeof second; i++) scores[c] += net->dense[c][i] * second[i];
		if (scores[c] > scores[best]) best = c;
	}
	return best;
}

#endif /* NETWORK_H */

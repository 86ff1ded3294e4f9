// weft:cflags -O3 -msimd128
// Classifies seeded images with a small neural network.
#include <weft.h>

#include "network.h"

WEFT_FUNCTION(infer) {
	static network net;
	int images = (int)weft_arg_int("images", 1);
	uint64_t seed = (uint64_t)weft_arg_int("seed", 1);
	network_make(&net, seed);
	weft_return_json("[");
	for (int i = 0; i < images; i++) {
		uint8_t image[SIDE][SIDE];
		int32_t scores[CLASSES];
		network_image(image, seed + (uint64_t)i);
		weft_return_json("%s{\"class\": %d, \"scores\": [", i ? ", " : "", network_run(&net, image, scores));
		for (int c = 0; c < CLASSES; c++) weft_return_json("%s%d", c ? ", " : "", scores[c]);
		weft_return_json("]}");
	}
	return weft_return_json("]");
}

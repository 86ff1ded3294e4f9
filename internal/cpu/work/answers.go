package work

// answers are those of all problems, by kernel. The test that rewrites them also checks them by other means.
var answers = [Kernels][Problems]uint64{
	{0xa18, 0x1055, 0x1a6d, 0x2ac2}, // fib
	{0x40a38600347de711, 0x40a38800347885ec, 0x40a38a00347325e1, 0x40a38c00346dc6f0}, // float
	{0x2b53f39cb331dcc2, 0x8ddd2d199053365b, 0xa1239498731d0dc6, 0xa7f54aefb08db552}, // matmul
	{0xc13df3b7f0e25abb, 0x71864f887e45b58f, 0x3ec459eaa3c884d8, 0xdaaed37b8f1c6a45}, // markdown
	{0x54002bc, 0x5002bc, 0xffffffffff5002bc, 0xffffffffff9002bc},                    // sentiment
	{0x9460c327bc8b55ff, 0x74966e843e6c38d1, 0xb74a4775a415c44e, 0x3457b371711af801}, // features
	{0xc310c0e7b17f9cd, 0x3dacfa57cda46fcb, 0x5d76ce51e319a16c, 0x5c06e2c0130746ab},  // bfs
	{0x12303, 0x1237c, 0x12d81, 0x12185},                                             // mst
	{0x7de6161a25e97993, 0x6536d462aa16f242, 0x83266674bf43457a, 0x147e2c07ab097171}, // pagerank
}

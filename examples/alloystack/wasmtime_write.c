/* A plain C program that writes. */
#include <stdio.h>

int main(void) {
	puts("Hello, world!");
	return 0;
}

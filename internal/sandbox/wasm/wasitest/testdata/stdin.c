// Standard input is read to its end; the end stays the end.
#include "check.h"
#include <ctype.h>
int main(void) {
	int c;
	while ((c = getchar()) != EOF) putchar(toupper(c));
	char b;
	CHECK(read(0, &b, 1) == 0);
	CHECK(read(0, &b, 1) == 0);
	CHECK(read(1, &b, 1) == -1); // standard output cannot be read
	return 0;
}

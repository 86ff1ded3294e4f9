/* Counts lines, words and bytes of standard input, like wc: a plain C program that knows nothing of weft. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
	unsigned long lines = 0, words = 0, bytes = 0;
	int inside = 0, c;
	while ((c = getchar()) != EOF) {
		bytes++;
		if (c == '\n') lines++;
		if (isspace(c)) {
			inside = 0;
		} else if (!inside) {
			inside = 1;
			words++;
		}
	}
	if (ferror(stdin)) {
		perror("wc");
		return 1;
	}
	if (argc > 1 && strcmp(argv[1], "-l") == 0)
		printf("%lu\n", lines);
	else if (argc > 1 && strcmp(argv[1], "-w") == 0)
		printf("%lu\n", words);
	else
		printf("%lu %lu %lu\n", lines, words, bytes);
	return 0;
}

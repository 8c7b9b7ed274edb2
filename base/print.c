/*
 * What switches print on standard output and error. It holds names and values from events and
 * databases, which must not be able to move the terminal's cursor or forge a line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"

static void print(FILE *to, struct span text, size_t (*encode)(char *, size_t, struct span))
{
	size_t most = TEXT_GROWTH * text.n;
	char *out = mem_alloc(most + 1);

	fwrite(out, 1, encode(out, most, text), to);
	free(out);
}

void print_line(FILE *to, const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	int n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	bool ends = n > 0 && text[n - 1] == '\n';
	print(to, (struct span){ text, (size_t)n - ends }, text_line);
	if (ends)
		putc('\n', to);
	free(text);
}

void print_page(FILE *to, const char *text)
{
	print(to, span_of(text), text_page);
}

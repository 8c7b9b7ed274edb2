/* Fuzzes what is made of an HTTP request against the grammar as regular expressions. */
#include <regex.h>

#include "../../base/http.c"
#include "fuzz.h"

#define TOKEN "[!#$%&'*+.^_`|~0-9A-Za-z-]+"

static int write_nothing(void *arg, struct buf *body)
{
	(void)arg;
	(void)body;
	return 200;
}

static const struct http_page pages[] = {
	{ "/metrics", "m", write_nothing }, { "/health", "h", write_nothing }, { NULL, NULL, NULL },
};

static bool matches(const char *pattern, const char *text, int flags)
{
	regex_t r;

	CHECK(regcomp(&r, pattern, REG_EXTENDED | REG_NOSUB | flags) == 0);
	bool found = regexec(&r, text, 0, NULL, 0) == 0;
	regfree(&r);
	return found;
}

/* head: of a request that is text and has come whole. */
static bool is_sound(const char *head)
{
	return matches("^" TOKEN " [^ \n]+ HTTP/1[.][01]\r?\n(" TOKEN ":[^\n]*\n)*\r?\n$", head, 0);
}

/* HTTP/1.1 needs one, HTTP/1.0 may have one. */
static bool has_hosts(const char *head)
{
	bool one = matches("\nhost:", head, REG_ICASE);

	return !matches("\nhost:.*\nhost:", head, REG_ICASE) &&
		(one || matches("^[^\n]* HTTP/1[.]0\r?\n", head, 0));
}

/* Byte by byte, the first status is that of the whole. */
static int in_pieces(struct span in)
{
	struct request r;
	int status = 0;

	for (size_t n = 0; n <= in.n && !status; n += in.n < 512 ? 1 : 13) {
		struct span piece = fuzz_copy(in.p, n);
		status = judge(piece, pages, &r);
		fuzz_free(piece);
	}
	return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = fuzz_copy((const char *)data, size < HEAD_MAX ? size : HEAD_MAX);
	struct request r;
	int status = judge(in, pages, &r), pieces = in_pieces(in);

	CHECK(status == pieces || (!pieces && in.n >= 512));
	CHECK((status == 200) <= (r.page != NULL));
	size_t n = head_bytes(in);
	if (n && is_text((struct span){ in.p, n })) {
		char *head = mem_str(in.p, n);
		bool good = status == 200 || status == 404 || status == 405;
		CHECK(good == (is_sound(head) && has_hosts(head)));
		free(head);
	} else {
		CHECK(status == 0 || status == 400 || status == 431);
	}
	fuzz_free(in);
	return 0;
}

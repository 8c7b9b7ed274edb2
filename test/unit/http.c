/*
 * Tests of http.c and socket.c: which requests get which answer, however they arrive, and which
 * addresses are understood.
 *
 * Linked with: base/buf.c base/pidfile.c base/process.c base/socket.c
 */
#include "../../base/http.c"
#include "unit.h"

#define HOST "Host: h\r\n\r\n"

static int write_page(void *arg, struct buf *body)
{
	buf_str(body, "page");
	return *(int *)arg;
}

static const struct http_page pages[] = {
	{ "/metrics", "text/m", write_page }, { "/health", "text/h", write_page },
	{ NULL, NULL, NULL },
};

static const struct { struct span in; int status; } cases[] = {
	{ TEXT("GET /metrics HTTP/1.1\r\n" HOST), 200 },
	{ TEXT("GET /metrics HTTP/1.1\nhOST:\n\n"), 200 },
	{ TEXT("GET /health HTTP/1.0\r\n\r\n"), 200 },
	{ TEXT("HEAD /health?x=1 HTTP/1.0\r\nA: b\r\nC:d\r\n\r\n"), 200 },
	{ TEXT("GET http://me:1/metrics HTTP/1.1\r\n" HOST), 200 },
	{ TEXT("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\nbody\x01"), 200 },
	/* not whole */
	{ TEXT(""), 0 }, { TEXT("GET"), 0 }, { TEXT("GET /metrics HTTP/1.1\r\nHost: h\r\n\r"), 0 },
	{ TEXT("GET /metrics HTTP/1.1\r\nHost: h\r\n"), 0 },
	/* another page, another method */
	{ TEXT("GET / HTTP/1.1\r\n" HOST), 404 }, { TEXT("GET /metrics/ HTTP/1.1\r\n" HOST), 404 },
	{ TEXT("GET /metric HTTP/1.1\r\n" HOST), 404 },
	{ TEXT("GET metrics HTTP/1.1\r\n" HOST), 404 },
	{ TEXT("OPTIONS * HTTP/1.1\r\n" HOST), 404 },
	{ TEXT("GET http://me HTTP/1.1\r\n" HOST), 404 },
	{ TEXT("GET /../metrics HTTP/1.1\r\n" HOST), 404 },
	{ TEXT("POST /metrics HTTP/1.1\r\nContent-Length: 9\r\n" HOST), 405 },
	{ TEXT("get /metrics HTTP/1.1\r\n" HOST), 405 },
	{ TEXT("GETS /health HTTP/1.0\r\n\r\n"), 405 },
	/* no requests of ours */
	{ TEXT("\n\n"), 400 }, { TEXT("\r\n\r\nGET"), 400 }, { TEXT("GET\r\n\r\n"), 400 },
	{ TEXT("GET /metrics\r\n\r\n"), 400 }, { TEXT(" GET /metrics HTTP/1.0\r\n\r\n"), 400 },
	{ TEXT("GET  /metrics HTTP/1.0\r\n\r\n"), 400 },
	{ TEXT("GET /metrics HTTP/1.0 \r\n\r\n"), 400 },
	{ TEXT("GET /metrics HTTP/1.0\r\r\n\r\n"), 400 },
	{ TEXT("G\xc3\xa4T /metrics HTTP/1.0\r\n\r\n"), 400 }, { TEXT("\x16\x03\x01"), 400 },
	{ TEXT("GET /metrics\0 HTTP/1.0"), 400 }, { TEXT("GET /metrics HTTP/1.1\r\nA\x7f"), 400 },
	{ TEXT("GET /metrics HTTP/1.1\r\n\r\n"), 400 },
	{ TEXT("GET /metrics HTTP/1.1\r\nHost: a\r\n" HOST), 400 },
	{ TEXT("GET /metrics HTTP/1.0\r\nno colon\r\n\r\n"), 400 },
	{ TEXT("GET /metrics HTTP/1.0\r\nA: b\r\n folded\r\n\r\n"), 400 },
	{ TEXT("GET /metrics HTTP/1.0\r\n: x\r\n\r\n"), 400 },
	{ TEXT("GET /metrics HTTP/1.0\r\nA : x\r\n\r\n"), 400 },
	{ TEXT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505 },
	{ TEXT("GET /metrics HTTP/1.2\r\n" HOST), 505 }, { TEXT("GET / http/1.1\r\n" HOST), 400 },
};

static void test_judge(void)
{
	struct request r;

	for (size_t i = 0; i < COUNT(cases); i++) {
		char *copy = mem_str(cases[i].in.p, cases[i].in.n);
		int whole = judge((struct span){ copy, cases[i].in.n }, pages, &r);
		unit_begin(whole == cases[i].status, "status of", cases[i].in);
		putchar('\n');
		/* byte by byte: the first answer is the same */
		int status = 0;
		for (size_t n = 0; n <= cases[i].in.n && !status; n++)
			status = judge((struct span){ copy, n }, pages, &r);
		check_int("byte by byte", status, cases[i].status);
		free(copy);
	}
}

static void test_long_request(void)
{
	struct buf in = { 0 };
	struct request r;

	buf_str(&in, "GET /metrics HTTP/1.1\r\nHost: ");
	while (in.len < HEAD_MAX - 5)
		buf_str(&in, "x");
	check_int("of 4095 bytes, not whole", judge((struct span){ in.p, in.len }, pages, &r), 0);
	buf_str(&in, "\r\n\r\n");
	check_int("of 4095 bytes", judge((struct span){ in.p, in.len }, pages, &r), 200);
	in.len -= 4;
	buf_str(&in, "xxxxx");
	check_int("over 4096 bytes", judge((struct span){ in.p, in.len }, pages, &r), 431);
	buf_free(&in);
}

static void check_answer(const char *about, int status, bool head_only, int says,
	const char *wanted)
{
	struct request r = { status == 200 ? &pages[0] : NULL, head_only };
	struct buf out = { 0 };

	write_answer(&out, status, &r, &says);
	check_span(about, span_of(""), span_of(buf_cstr(&out)), span_of(wanted));
	buf_free(&out);
}

#define REST "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
#define PLAIN "Content-Type: text/plain; charset=utf-8\r\n"

static void test_answers(void)
{
	check_answer("a page", 200, false, 200,
		"HTTP/1.1 200 OK\r\nContent-Type: text/m\r\nContent-Length: 4\r\n" REST "page");
	check_answer("its head", 200, true, 200,
		"HTTP/1.1 200 OK\r\nContent-Type: text/m\r\nContent-Length: 4\r\n" REST);
	check_answer("not well", 200, false, 503, "HTTP/1.1 503 Service Unavailable\r\n"
		"Content-Type: text/m\r\nContent-Length: 4\r\n" REST "page");
	check_answer("method", 405, false, 0, "HTTP/1.1 405 Method Not Allowed\r\n" PLAIN
		"Content-Length: 23\r\nAllow: GET, HEAD\r\n" REST "405 Method Not Allowed\n");
}

static const struct { const char *text; int family; } addresses[] = {
	{ "127.0.0.1:9187", AF_INET }, { "0.0.0.0:1", AF_INET }, { "127.0.0.1:65535", AF_INET },
	{ "[::1]:9187", AF_INET6 }, { "[::]:80", AF_INET6 }, { "/run/x.sock", AF_UNIX },
	{ "", 0 }, { ":", 0 }, { ":9187", 0 }, { "127.0.0.1", 0 }, { "127.0.0.1:", 0 },
	{ "127.0.0.1:0", 0 }, { "127.0.0.1:65536", 0 }, { "127.0.0.1:99999", 0 },
	{ "127.0.0.1:918 7", 0 }, { "127.0.0.1:-1", 0 }, { "127.0.0.1:+1", 0 }, { "9187", 0 },
	{ "::1:9187", 0 }, { "[::1]", 0 }, { "[::1]9187", 0 }, { "[]:1", 0 }, { "[127.0.0.1:1", 0 },
	{ "localhost:9187", 0 }, { "*:9187", 0 }, { "run/x.sock", 0 }, { "256.0.0.1:1", 0 },
	{ "127.1:9187", 0 }, { "[127.0.0.1]:1", 0 }, { "[:1", 0 }, { "[::1%lo]:1", 0 },
	{ "0123456789012345678901234567890123456789012345678901234567890123:1", 0 },
	{ "/0123456789012345678901234567890123456789012345678901234567890123456789"
		"01234567890123456789012345678901234567", 0 },
};

static void test_addresses(void)
{
	for (size_t i = 0; i < COUNT(addresses); i++) {
		struct socket_address a;
		bool ok = socket_address(addresses[i].text, &a);
		check_int(addresses[i].text, ok ? a.to.ss_family : 0, addresses[i].family);
	}
}

int main(void)
{
	test_judge();
	test_long_request();
	test_answers();
	test_addresses();
	return unit_end();
}

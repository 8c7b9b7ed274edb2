/*
 * A minimal HTTP/1.1 server of a few small pages, in a process of its own: GET and HEAD, one
 * request a connection. Nothing a client does costs more than CLIENTS buffers, and nothing lasts
 * longer than CLIENT_MS.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base.h"

#define CLIENTS 8                       /* one more takes the place of the oldest */
#define CLIENT_MS 5000                  /* from a connection's start to its end */
#define HEAD_MAX 4096                   /* bytes of a request with its headers */
#define DRAIN_MAX 65536                 /* bytes read after the answer */
#define ACCEPT_PAUSE_MS 100             /* when the machine has no descriptor or memory left */

/* ---- the request */

struct request {
	const struct http_page *page;   /* NULL: none of that path */
	bool head_only;                 /* HEAD */
};

/* Takes the line at *p off it, without its end. */
static struct span next_line(const char **p, const char *end)
{
	const char *newline = memchr(*p, '\n', (size_t)(end - *p));
	struct span line = { *p, (size_t)(newline - *p) };

	*p = newline + 1;
	line.n -= line.n && line.p[line.n - 1] == '\r';
	return line;
}

/* Takes the word before the next blank off the line. */
static struct span next_word(struct span *line)
{
	const char *blank = line->n ? memchr(line->p, ' ', line->n) : NULL;
	struct span word = { line->p, blank ? (size_t)(blank - line->p) : line->n };
	size_t n = word.n + (blank != NULL);

	*line = (struct span){ line->p + n, line->n - n };
	return word;
}

/* Bytes up to the empty line that ends the head, and with it; 0: it has not come yet. */
static size_t head_bytes(struct span in)
{
	for (size_t i = 0; i + 1 < in.n; i++) {
		if (in.p[i] != '\n')
			continue;
		if (in.p[i + 1] == '\n')
			return i + 2;
		if (i + 2 < in.n && in.p[i + 1] == '\r' && in.p[i + 2] == '\n')
			return i + 3;
	}
	return 0;
}

/* TLS, or no text at all: the rest need not be waited for. */
static bool is_text(struct span in)
{
	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];
		if ((c < 0x20 && c != '\r' && c != '\n' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static bool is_token(struct span s)
{
	static const char marks[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) &&
		    !(c && strchr(marks, c)))
			return false;
	}
	return s.n > 0;
}

/* The path of /path, /path?query or http://host/path. */
static struct span path_of(struct span target)
{
	static const char scheme[] = "http://";
	size_t n = strlen(scheme);

	if (target.n >= n && strncasecmp(target.p, scheme, n) == 0) {
		target = (struct span){ target.p + n, target.n - n };
		const char *slash = target.n ? memchr(target.p, '/', target.n) : NULL;
		n = slash ? (size_t)(slash - target.p) : target.n;
		target = (struct span){ target.p + n, target.n - n };
	}
	const char *query = target.n ? memchr(target.p, '?', target.n) : NULL;
	return (struct span){ target.p, query ? (size_t)(query - target.p) : target.n };
}

/* 0, or the status that refuses the headers. HTTP/1.1 needs one Host. */
static int judge_headers(const char *p, const char *end, bool host_needed)
{
	int hosts = 0;

	for (struct span line = next_line(&p, end); line.n; line = next_line(&p, end)) {
		const char *colon = memchr(line.p, ':', line.n);
		struct span name = { line.p, colon ? (size_t)(colon - line.p) : 0 };
		if (!is_token(name))
			return 400;
		hosts += name.n == 4 && strncasecmp(name.p, "host", 4) == 0;
	}
	return hosts > 1 || (host_needed && !hosts) ? 400 : 0;
}

/* The status of the answer; 200 if a page is to be sent; 0: the request has not come whole. */
static int judge(struct span in, const struct http_page *pages, struct request *r)
{
	size_t n = head_bytes(in);
	const char *p = in.p;

	*r = (struct request){ 0 };
	if (!is_text((struct span){ in.p, n ? n : in.n }))
		return 400;
	if (!n)
		return in.n < HEAD_MAX ? 0 : 431;
	struct span line = next_line(&p, in.p + n);
	struct span method = next_word(&line), target = next_word(&line);
	bool new = span_is(line, "HTTP/1.1");
	if (!is_token(method) || !target.n)
		return 400;
	if (!new && !span_is(line, "HTTP/1.0"))
		return line.n == 8 && memcmp(line.p, "HTTP/", 5) == 0 ? 505 : 400;
	if (judge_headers(p, in.p + n, new))
		return 400;
	for (const struct http_page *page = pages; page->path && !r->page; page++)
		if (span_is(path_of(target), page->path))
			r->page = page;
	r->head_only = span_is(method, "HEAD");
	if (!r->page)
		return 404;
	return r->head_only || span_is(method, "GET") ? 200 : 405;
}

/* ---- the answer */

static const char *phrase_of(int status)
{
	switch (status) {
	case 200: return "OK";
	case 400: return "Bad Request";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 408: return "Request Timeout";
	case 431: return "Request Header Fields Too Large";
	case 505: return "HTTP Version Not Supported";
	default: return "Service Unavailable";
	}
}

static void write_answer(struct buf *out, int status, const struct request *r, void *arg)
{
	struct buf body = { 0 };
	const char *type = "text/plain; charset=utf-8";

	if (status == 200) {
		type = r->page->type;
		status = r->page->write(arg, &body);
	} else {
		buf_fmt(&body, "%d %s\n", status, phrase_of(status));
	}
	buf_fmt(out, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
		"Cache-Control: no-store\r\nConnection: close\r\n\r\n", status, phrase_of(status),
		type, body.len, status == 405 ? "Allow: GET, HEAD\r\n" : "");
	if (!r->head_only)
		buf_add(out, body.p, body.len);
	buf_free(&body);
}

/* ---- the clients */

struct client {
	int fd;                         /* 0: none */
	uint64_t number;                /* in the order of arrival */
	int64_t until_ms;
	char in[HEAD_MAX];
	size_t n;
	struct buf out;                 /* empty: the request has not come whole */
	size_t sent, drained;
};

struct server {
	int listener;
	const struct http_page *pages;
	void *arg;
	uint64_t arrived;               /* clients since the start */
	struct client client[CLIENTS];
};

static void drop(struct client *c)
{
	close(c->fd);
	c->fd = 0;
	buf_free(&c->out);
}

/* Sends what the socket takes; after the last byte the client sees the end. */
static void send_some(struct client *c)
{
	ssize_t n = send(c->fd, c->out.p + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		drop(c);
		return;
	}
	c->sent += n > 0 ? (size_t)n : 0;
	if (c->sent == c->out.len)
		shutdown(c->fd, SHUT_WR);
}

static void answer(const struct server *s, struct client *c, int status, const struct request *r)
{
	write_answer(&c->out, status, r, s->arg);
	send_some(c);
}

static void receive(const struct server *s, struct client *c)
{
	struct request r;
	ssize_t n = recv(c->fd, c->in + c->n, sizeof c->in - c->n, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(c);
		return;
	}
	c->n += (size_t)n;
	int status = judge((struct span){ c->in, c->n }, s->pages, &r);
	if (status)
		answer(s, c, status, &r);
}

/* Reads what else the client sends: closing before would reset the connection, and the client might
 * never see the answer. */
static void drain(struct client *c)
{
	ssize_t n = recv(c->fd, c->in, sizeof c->in, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	c->drained += n > 0 ? (size_t)n : 0;
	if (n <= 0 || c->drained > DRAIN_MAX)
		drop(c);
}

static void step(const struct server *s, struct client *c)
{
	if (!c->out.len)
		receive(s, c);
	else if (c->sent < c->out.len)
		send_some(c);
	else
		drain(c);
}

/* Closes a client whose time is over, or whose place is needed. */
static void end(const struct server *s, struct client *c, int status)
{
	if (!c->out.len && (c->n || status != 408))
		answer(s, c, status, &(struct request){ 0 });
	if (c->fd)
		drop(c);
}

static bool is_answered(const struct client *c)
{
	return c->out.len && c->sent == c->out.len;
}

/* Should a make place rather than b? Those that have their answer do first, then the oldest. */
static bool goes_first(const struct client *a, const struct client *b)
{
	if (is_answered(a) != is_answered(b))
		return is_answered(a);
	return a->number < b->number;
}

static struct client *make_place(struct server *s)
{
	struct client *first = s->client;

	for (struct client *c = s->client; c < s->client + CLIENTS; c++) {
		if (!c->fd)
			return c;
		if (goes_first(c, first))
			first = c;
	}
	end(s, first, 503);
	return first;
}

static void accept_one(struct server *s)
{
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
		poll(NULL, 0, ACCEPT_PAUSE_MS);
	if (fd < 0)
		return;
	struct client *c = make_place(s);
	c->fd = fd;
	c->number = s->arrived++;
	c->until_ms = clock_ms() + CLIENT_MS;
	c->n = c->sent = c->drained = 0;
}

/* Ends the clients whose time is over. Returns the milliseconds until the
 * next client's time is over. */
static int64_t end_late(struct server *s)
{
	int64_t now_ms = clock_ms(), wait_ms = CLIENT_MS;

	for (struct client *c = s->client; c < s->client + CLIENTS; c++) {
		if (c->fd && c->until_ms <= now_ms)
			end(s, c, 408);
		if (c->fd && c->until_ms - now_ms < wait_ms)
			wait_ms = c->until_ms - now_ms;
	}
	return wait_ms;
}

static void wait_and_step(struct server *s, int64_t wait_ms)
{
	struct pollfd fds[CLIENTS + 1] = { [CLIENTS] = { .fd = s->listener, .events = POLLIN } };

	for (size_t i = 0; i < CLIENTS; i++) {
		const struct client *c = &s->client[i];
		fds[i].fd = c->fd ? c->fd : -1;
		fds[i].events = c->sent < c->out.len ? POLLOUT : POLLIN;
	}
	if (poll(fds, CLIENTS + 1, (int)wait_ms) <= 0)
		return;
	for (size_t i = 0; i < CLIENTS; i++)
		if (fds[i].revents)
			step(s, &s->client[i]);
	if (fds[CLIENTS].revents)
		accept_one(s);
}

void http_serve(int listener, const struct http_page *pages, void *arg, pid_t parent)
{
	static struct server s;

	s = (struct server){ .listener = listener, .pages = pages, .arg = arg };
	while (getppid() == parent)
		wait_and_step(&s, end_late(&s));
}

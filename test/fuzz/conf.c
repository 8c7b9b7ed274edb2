/*
 * Fuzzes the config as a whole. The input is the file's text and then --set overrides, divided by
 * bytes 0xff. What is shown, with its percent signs doubled, is a config that shows the same.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "../../conf/conf.c"
#include "fuzz.h"

#define MOST_SETS 16
#define REFERENCES_MAX 24       /* more of them grow a value without end */

static int memory_file(struct span text)
{
	int fd = memfd_create("conf", MFD_CLOEXEC);

	CHECK(fd >= 0 && write(fd, text.p, text.n) == (ssize_t)text.n);
	return fd;
}

static int load(struct conf *conf, struct span text, char *const *sets, size_t nsets, struct err *e)
{
	int fd = memory_file(text);
	struct buf path = { 0 };

	buf_fmt(&path, "/proc/self/fd/%d", fd);
	int rc = conf_load(conf, buf_cstr(&path), sets, nsets, e);
	close(fd);
	buf_free(&path);
	return rc;
}

static char *unmasked(const char *conninfo)
{
	return mem_str(conninfo, strlen(conninfo));
}

static void show(const struct conf *conf, struct buf *out)
{
	conf_show(conf, out, unmasked);
}

/* Is text among what a file can say? --set and %(name)s can make values with lines that it
 * cannot. */
static bool can_be_written(const char *text)
{
	static const char blank[] = " \t\n\v\f\r\x1c\x1d\x1e\x1f";
	struct span rest = span_of(text), line = { text, 0 };

	if (!*text || strchr(text, '\r') || text[strlen(text) - 1] == '\n')
		return false;
	while (rest.n) {
		line = fuzz_part(&rest, '\n');
		if (line.n && (strchr(blank, line.p[0]) || strchr(blank, line.p[line.n - 1]) ||
		    strchr("#;", line.p[0])))
			return false;
	}
	return true;
}

/* Would 2.1 have taken the end of its first line for a comment? Then there is a warning. */
static bool has_inline_comment(const char *text)
{
	const char *semicolon = strchr(text, ';');

	return semicolon && semicolon > text && !memchr(text, '\n', (size_t)(semicolon - text)) &&
		strchr(" \t\v\f\r", semicolon[-1]);
}

static bool values_can_be_written(const struct conf *conf, const struct dest *dest)
{
	for (size_t i = 0; i < key_count; i++) {
		char *const *at = key_text(&key_table[i], conf, dest);
		const char *text = at ? *at : NULL;
		if (text && (!can_be_written(text) || strcmp(text, "\"\"") == 0 ||
		    has_inline_comment(text)))
			return false;
	}
	return true;
}

static void check_shown_again(const struct conf *conf)
{
	struct conf again;
	struct buf shown = { 0 }, text = { 0 }, shown_again = { 0 };
	struct err e = { 0 };

	if (!values_can_be_written(conf, &conf->dest))
		return;
	for (size_t i = 0; i < conf->nrule; i++)
		if (!conf->rule[i].ignore && !values_can_be_written(conf, &conf->rule[i].dest))
			return;
	show(conf, &shown);
	buf_str(&text, "[tdispatch]\n");
	buf_add(&text, shown.p, shown.len);
	CHECK(load(&again, (struct span){ text.p, text.len }, NULL, 0, &e) == 0);
	CHECK(again.warnings.len == 0);
	show(&again, &shown_again);
	CHECK(span_eq((struct span){ shown.p, shown.len },
		(struct span){ shown_again.p, shown_again.len }));
	conf_free(&again);
	buf_free(&shown);
	buf_free(&text);
	buf_free(&shown_again);
}

static void check_conf(const struct conf *c)
{
	CHECK(*c->job_name && *c->queue_name && *c->consumer_name && *c->src_db && *c->dst_db);
	CHECK(c->log_size >= 0 && c->log_count >= 0 && c->log_count <= 1000);
	CHECK(c->loop_delay >= 0 && c->exception_sleep >= 0 && c->connection_lifetime >= 0 &&
		c->retry_limit >= 0);
	CHECK(c->lanes >= 1 && c->lanes <= LANES_MAX && c->batch_min_events >= 0);
	if (c->nrule)
		return;                 /* dest is only what they inherit */
	CHECK(c->dest.table.n > 0 && c->dest.schema.n <= NAME_BYTES_MAX);
	CHECK(c->dest.table.n + period_suffix_min(c->dest.period.method) <= NAME_BYTES_MAX);
	CHECK(c->dest.schema.n + (c->dest.schema.n > 0) +
		c->dest.table.n == strlen(c->dest.dest_table));
	CHECK(!c->dest.field == !c->dest.nfield && c->dest.nfield <= COLUMNS_MAX);
	for (size_t i = 0; i < c->dest.nfield; i++) {
		struct span all = span_of(c->dest.fields), source = c->dest.field[i].source,
			target = c->dest.field[i].target;
		CHECK(source.n && target.n && target.n <= NAME_BYTES_MAX);
		CHECK(fuzz_within(source, all) && fuzz_within(target, all));
	}
}

static size_t references(struct span text)
{
	size_t n = 0;

	for (size_t i = 0; i + 1 < text.n; i++)
		n += text.p[i] == '%' && text.p[i + 1] == '(';
	return n;
}

static void check_load(struct span text, char *const *sets, size_t nsets)
{
	struct conf conf;
	struct err e = { 0 };

	if (load(&conf, text, sets, nsets, &e) == 0) {
		CHECK(e.code == 0);
		check_conf(&conf);
		check_shown_again(&conf);
	} else {
		fuzz_check_err(&e, ERR_CONF, ERR_CONF);
	}
	CHECK(conf.warnings.len == 0 || conf.warnings.p[conf.warnings.len - 1] == '\n');
	conf_free(&conf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = { (const char *)data, size };
	char *sets[MOST_SETS];
	size_t nsets = 0;

	if (references(rest) > REFERENCES_MAX)
		return 0;
	struct span text = fuzz_part(&rest, (char)0xff);
	while (rest.n && nsets < MOST_SETS) {
		struct span set = fuzz_part(&rest, (char)0xff);
		sets[nsets++] = mem_str(set.p, set.n);
	}
	check_load(text, sets, nsets);
	for (size_t i = 0; i < nsets; i++)
		free(sets[i]);
	return 0;
}

/* Tests of progress.c and tally.c: the lines for people and for scripts, and the sums of
 * partitions. */
#include "../../base/buf.c"
#include "../../base/print.c"
#include "../../base/tally.c"
#include "../../report/progress.c"
#include "unit.h"

int64_t clock_ms(void)
{
	return 0;
}

bool process_stop_after_batch(void)
{
	return false;
}

static void test_lines(void)
{
	static const struct { struct progress p; int64_t events,
		ms; size_t width; const char *text, *json; } cases[] = {
		{ { .total = -1 }, 0, 0, 79, "0 events, 0/s, 0 partitions",
			"\"seconds\":0.000,\"events\":0,\"events_estimated\":null,"
			"\"events_per_second\":0,\"seconds_left\":null,"
			"\"partitions_created\":0,\"events_verified\":null,\"verifying\":false}" },
		{ { .total = 5000, .parts = 1 }, 1000, 1999, 79, "1,000 of about 5,000 events,"
			" 500/s, 1 partition", NULL },
		{ { .total = 5000, .parts = 2 }, 1000, 4000, 79, "1,000 of about 5,000 events,"
			" 0:00:16 left, 250/s, 2 partitions",
			"\"seconds\":4.000,\"events\":1000,\"events_estimated\":5000,"
			"\"events_per_second\":250,\"seconds_left\":16,"
			"\"partitions_created\":2,\"events_verified\":null,\"verifying\":false}" },
		{ { .total = 9000000000 }, 1, 3000, 79, "1 of about 9,000,000,000 events,"
			" 7499999:59:57 left, 0/s, 0 partitions", NULL },
		{ { .total = 10 }, 20, 4000, 79, "20 events, finishing, 5/s, 0 partitions", NULL },
		{ { .total = 5000, .parts = 2, .stopping = true }, 1000, 1000, 79,
			"stopping: 1,000 of about 5,000 events, 1,000/s, 2 partitions", NULL },
		{ { .total = 5000 }, 0, 9000, 79, "0 of about 5,000 events, 0/s, 0 partitions",
			NULL },

		/* with a second reading half of the time is left when the first is over */
		{ { .total = 1000, .verify = true, .now_events = 1000 }, 1000, 4000, 79,
			"1,000 of about 1,000 events, 0:00:04 left, 250/s, 0 partitions", NULL },
		{ { .total = 1000, .parts = 2, .verify = true, .verifying = true, .events = 0,
			.now_events = 1000, .now_verified = 500 },
			1000, 6000, 79, "1,000 of about 1,000 events, verifying 500, 0:00:02 left,"
				" 166/s, 2 partitions",
			"\"seconds\":6.000,\"events\":1000,\"events_estimated\":1000,"
			"\"events_per_second\":166,\"seconds_left\":2,"
			"\"partitions_created\":2,\"events_verified\":500,\"verifying\":true}" },

		/* what has no room, a whole piece at a time */
		{ { .total = 456789012, .parts = 1234, .verify = true, .verifying = true,
			.stopping = true,
			.now_events = 123456789, .now_verified = 12345678 }, 123456789, 4000000, 79,
			"stopping: 123,456,789 of about 456,789,012 events, verifying 12,345,678",
			NULL },
		{ { .total = 456789012, .parts = 1234 }, 123456789, 400000, 79,
			"123,456,789 of about 456,789,012 events, 0:18:00 left, 308,641/s", NULL },
		{ { .total = 5000, .parts = 2 }, 1000, 4000, 40, "1,000 of about 5,000 events,"
			" 250/s", NULL },
	};
	struct buf out = { 0 };

	for (size_t i = 0; i < COUNT(cases); i++) {
		add_text(&out, &cases[i].p, cases[i].events, cases[i].ms, cases[i].width);
		check_int("it fits", out.len <= cases[i].width, true);
		check_buf("", span_of(cases[i].text), &out, cases[i].text);
		if (!cases[i].json)
			continue;
		buf_str(&out, "{\"type\":\"progress\",");
		buf_str(&out, cases[i].json);
		char *wanted = mem_str(out.p, out.len);
		out.len = 0;
		add_json_now(&out, &cases[i].p, cases[i].events, cases[i].ms);
		check_buf("json", span_of(cases[i].text), &out, wanted);
		free(wanted);
	}
	buf_free(&out);
}

/* Asked again and again it shows no more often than it should. */
static void test_times(void)
{
	struct progress p;

	progress_begin(&p, PROGRESS_LOG, false);
	check_int("the whole time at first", progress_show(&p, 1), 10000);
	p.shown_ms = -9000;
	check_int("the rest of it", progress_show(&p, 1), 1000);
	check_int("it is told what it did not show", p.now_events, 1);
	p.verifying = true;
	progress_show(&p, 5);
	check_int("the second reading counts apart", p.now_events == 1 && p.now_verified == 5,
		true);
}

static void test_tally(void)
{
	struct tally t = { 0 }, sum = { 0 };
	char name[NAME_BYTES_MAX + 1];
	bool sorted = true, found = true;

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "p%03d", i * 7 % 500);
		if (tally_add(&t, name, i) != (i < 500))
			found = false;
	}
	for (size_t i = 0; i < t.n; i++) {
		sorted &= i == 0 || strcmp(t.at[i - 1].name, t.at[i].name) < 0;
		found &= tally_find(&t, t.at[i].name) == &t.at[i];
	}
	check_int("names", (int64_t)t.n, 500);
	check_int("sorted", sorted, true);
	check_int("found", found, true);
	check_int("not found", tally_find(&t, "p") == NULL && tally_find(&t, "q") == NULL &&
		tally_find(&sum, "p") == NULL, true);
	tally_merge(&sum, &t);
	tally_merge(&sum, &t);
	check_int("sum", tally_rows(&sum), 2 * 999 * 1000 / 2);
	check_int("one", tally_find(&sum, "p007")->rows, 2 * (1 + 501));
	tally_clear(&t);
	tally_clear(&sum);
	check_int("cleared", (int64_t)sum.n, 0);
}

int main(void)
{
	test_lines();
	test_times();
	test_tally();
	return unit_end();
}

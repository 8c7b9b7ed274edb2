/* Tests of health.c and state.c: what is known, and the one line that tells it; the state file. */
#include "../../base/buf.c"
#include "../../report/health.c"
#include "../../report/state.c"
#include "unit.h"

static int64_t now_ms = 1000000;

int64_t clock_ms(void)
{
	return now_ms;
}

#define RUNS(pid_, still, failing, rate_) .pid = pid_, .still_ms = still, .failing_ms = failing, \
	.rate = rate_, .batch_ms = -1
#define LOADS(since, stopping_) .pid = 7, .still_ms = 500, .failing_ms = -1, .rate = -1, \
	.batch_ms = since, .from_tick = 72, .to_tick = 73, .stopping = stopping_
#define QUEUE(lag, n, waiting, newest, new) \
	.queue = { .lag_ms = lag, .events = n, .waiting_ms = waiting, .newest_ms = newest, \
		.unticked = new, .overdue_ms = 60000 }

static void test_lines(void)
{
	static const struct {
		struct health h;
		int64_t stall_s, lag_s;
		bool well;
		const char *wanted;
	} cases[] = {
		{ { RUNS(7, 500, -1, -1), QUEUE(900, 0, 0, 900, 0) }, 1200, 0, true,
			"OK: nothing waits, the newest tick is 0.9 s old" },
		{ { RUNS(7, 500, -1, -1), QUEUE(900, 0, 0, 900, 4) }, 1200, 0, true, "OK: 0.9 s"
			" behind" },
		{ { RUNS(7, 500, -1, -1), .doing = "starting", .queue = QUEUE_UNKNOWN }, 1200, 0,
			true, "OK: process 7 is starting" },
		{ { RUNS(-1, 500, -1, -1), .queue = QUEUE_UNKNOWN }, 1200, 0, true,
			"whether a process runs is not known: set pidfile or state_file" },
		{ { RUNS(-1, -1, -1, -1), QUEUE(900, 0, 0, 900, 1) }, 1200, 0, true, "0.9 s"
			" behind; whether a process runs is not known: set pidfile or state_file" },
		{ { RUNS(-1, -1, -1, -1), QUEUE(900, 0, 0, 900, 0) }, 1200, 0, true,
			"nothing waits; whether a process runs is not known: set pidfile or"
				" state_file" },

		/* too far behind */
		{ { RUNS(7, 500, -1, -1), QUEUE(21000, 1, 900, 900, 0) }, 1200, 10, false,
			"TOO FAR BEHIND: lag 21 s (limit 10 s)" },
		{ { RUNS(7, 500, -1, -1), QUEUE(10000, 1, 900, 900, 0) }, 1200, 10, true,
			"OK: 10 s behind" },

		/* a batch is at hand */
		{ { LOADS(21000, false), QUEUE(900, 0, 0, 900, 0) }, 1200, 0,
			true, "OK: loading ticks 72-73 for 21 s" },
		{ { LOADS(900, true), QUEUE(900, 0, 0, 900, 0) }, 1200, 0,
			true, "OK: stopping: finishes its batch, ticks 72-73 for 0.9 s" },
		{ { LOADS(900, false), QUEUE(21000, 1, 900, 900, 0) }, 1200,
			10, false, "TOO FAR BEHIND: lag 21 s (limit 10 s)" },

		/* no process */
		{ { RUNS(0, -1, -1, -1), .error = "", .queue = QUEUE_UNKNOWN,  }, 1200, 0, false,
			"no process runs" },
		{ { RUNS(0, -1, -1, -1), .error = "disk full", QUEUE(900, 1, 0, 900, 0) }, 1200,
			0, false,
			"no process runs; the last one failed: disk full; 1 event waits" },
		{ { RUNS(0, -1, -1, -1), .error = "", QUEUE(900, 1200000, 0, 900, 0) }, 1200, 0,
			false,
			"no process runs; 1,200,000 events wait" },

		/* it fails */
		{ { RUNS(7, 500, 47000, -1), .error = "dst_db: disk full", QUEUE(900, 5, 50000,
			900, 0) },
			1200, 0, true,
			"FAILING for 47 s (--health fails after 1200 s): dst_db: disk full" },
		{ { RUNS(7, 1201000, 1201000, -1), .error = "gone", QUEUE(900, 5, 0, 900, 0) },
			1200, 0, false,
			"FAILING for 1201 s (--health fails after 1200 s): gone" },
		{ { RUNS(7, 500, 0, -1), .error = "gone", .queue = QUEUE_UNKNOWN }, 1200, 0, true,
			"FAILING for 0.0 s (--health fails after 1200 s): gone" },

		/* it does not go on */
		{ { RUNS(7, 30000, -1, -1), .doing = "loading", QUEUE(900, 0, 0, 900, 1) }, 1200,
			0, true, "OK: 0.9 s behind" },
		{ { RUNS(7, 500, -1, -1), QUEUE(36000, 0, 0, 36000, 10) }, 1200, 0, true,
			"OK: 10 events wait for a tick, the newest is 36 s old" },
		{ { RUNS(7, 30001, -1, -1), .doing = "loading", QUEUE(900, 0, 0, 900, 1) }, 1200,
			0, true,
			"NOT MOVING: process 7 is loading, without progress for 30 s"
			" (--health fails after 1200 s)" },
		{ { RUNS(7, 2001, -1, -1), .doing = "idle", QUEUE(900, 0, 0, 900, 1) }, 2, 0, false,
			"NOT MOVING: process 7 is idle, without progress for 2.0 s"
			" (--health fails after 2 s)" },
		{ { RUNS(7, 2000, -1, -1), .doing = "idle", QUEUE(900, 0, 0, 900, 1) }, 2, 0,
			true, "OK: 0.9 s behind" },

		/* no ticks */
		{ { RUNS(7, 500, -1, -1), QUEUE(900, 0, 0, 60000, 1) }, 1200, 0, true,
			"OK: 1 event waits for a tick, the newest is 60 s old" },
		{ { RUNS(7, 500, -1, -1), QUEUE(900, 0, 0, 146000, 0) }, 1200, 0, true,
			"NOT MOVING: no tick for 146 s: does a ticker run"
			" (ticker = 1, pgqd or pg_cron)?" },
		{ { RUNS(7, 500, -1, -1), QUEUE(900, 0, 0, 146000, 1234) }, 1200, 0, true,
			"NOT MOVING: no tick for 146 s: does a ticker run"
			" (ticker = 1, pgqd or pg_cron)?"
			" It would bring 1,234 events" },
		{ { RUNS(7, 500, -1, -1), QUEUE(900, 0, 0, 146000, -1), .queue.paused = true },
			1200, 0, true,
			"NOT MOVING: no tick for 146 s: the queue's ticker is paused" },
		{ { RUNS(7, 500, -1, -1), QUEUE(146000, 0, 0, 146000, -1) }, 1200, 100, false,
			"NOT MOVING: no tick for 146 s: does a ticker run"
			" (ticker = 1, pgqd or pg_cron)?;"
			" lag 146 s (limit 100 s)" },

		/* behind */
		{ { RUNS(7, 500, -1, -1), QUEUE(50000, 5, 10000, 900, 0) }, 1200, 0, true, "OK: 50"
			" s behind" },
		{ { RUNS(7, 500, -1, -1), QUEUE(50000, 1, 10001, 900, 0) }, 1200, 0, true,
			"BEHIND: about 1 event by PgQ's estimate, 50 s" },
		{ { RUNS(7, 500, -1, 80000), .gains = true, QUEUE(310000, 1200000, 300000, 900,
			0) },
			1200, 0, true, "BEHIND: about 1,200,000 events by PgQ's"
				" estimate, 310 s, catching up at 80,000/s:"
				" about 15 s" },
		{ { RUNS(7, 500, -1, 80000), QUEUE(310000, 1200000, 300000, 900, 0) },
			1200, 300, false, "BEHIND: about 1,200,000 events by PgQ's"
				" estimate, 310 s, loading 80,000/s:"
				" about 15 s; lag 310 s (limit 300 s)" },
		{ { RUNS(7, 500, -1, 0), .gains = true, QUEUE(310000, 12, 300000, 900, 0) },
			1200, 310, true, "BEHIND: about 12 events by PgQ's estimate, 310 s,"
				" not catching up" },
		{ { RUNS(7, 500, -1, 1000), .gains = true, QUEUE(310000, 12, 300000, 900, 0) },
			1200, 0, true, "BEHIND: about 12 events by PgQ's estimate, 310 s,"
				" catching up at 1,000/s: about 1"
				" s" },
	};
	struct buf line = { 0 };

	for (size_t i = 0; i < COUNT(cases); i++) {
		bool well = health_line(&cases[i].h, cases[i].stall_s * 1000,
			cases[i].lag_s * 1000, &line);
		check_int(cases[i].wanted, well, cases[i].well);
		check_buf("", span_of(cases[i].wanted), &line, cases[i].wanted);
	}
	buf_free(&line);
}

static void test_reminders(void)
{
	static const int64_t minutes[] = { 1, 5, 15, 60, 120, 180, 240 };

	for (size_t i = 0; i < COUNT(minutes); i++)
		check_int("reminder", health_remind_ms((int)i), minutes[i] * 60000);
}

/* What the state says as time goes by. */
static void test_state(void)
{
	struct state s;

	state_begin(&s);
	strcpy(s.doing, "loading");
	s.progress_ms = 999000;
	s.looked_ms = s.lag_at_ms = 990000;
	s.events = 700;
	s.looked_events = 500;
	s.queue = (struct queue_backlog){ .lag_ms = 5000, .events = 1000, .waiting_ms = 4000,
		.newest_ms = 100, .unticked = 3, .overdue_ms = -1 };
	struct health h = state_health(&s);
	check_int("pid", h.pid, getpid());
	check_int("still", h.still_ms, 1000);
	check_int("fails", h.failing_ms, -1);
	check_int("lag grows", h.queue.lag_ms, 15000);
	check_int("so does what waits", h.queue.waiting_ms, 14000);
	check_int("less is pending", h.queue.events, 800);
	check_int("the rate since", h.rate, 20);
	check_int("is of loading", h.gains, false);
	check_int("the tick grows older", h.queue.newest_ms, 10100);
	check_int("no batch is at hand", h.batch_ms, -1);
	s.queue.overdue_ms = 6000;
	check_int("not too old", state_health(&s).queue.newest_ms, 6000);
	s.queue.newest_ms = 7000;
	check_int("it was", state_health(&s).queue.newest_ms, 17000);
	s.batch_ms = 999500;
	check_int("a batch is at hand", state_health(&s).batch_ms, 500);
	s.gain = 0;
	s.queue.waiting_ms = 90000;
	s.events = 5000;
	s.failing_ms = 998000;
	h = state_health(&s);
	check_int("not catching up", h.gains && h.rate == 0, true);
	check_int("nothing waits for longer than the lag", h.queue.waiting_ms, 15000);
	check_int("estimates are exceeded", h.queue.events, 1);
	check_int("fails since", h.failing_ms, 2000);
	s.looked_ms = 969000;
	check_int("an old look", state_health(&s).queue.newest_ms, -1);
	strcpy(s.doing, "ended");
	h = state_health(&s);
	check_int("ended", h.pid == 0 && h.queue.lag_ms == -1, true);
	state_begin(&s);
	check_int("nothing known", state_health(&s).queue.lag_ms, -1);
}

static void test_file(void)
{
	struct state s, back;
	const char *path = "build/test/unit.state";
	static const char old[] = "pid 12\nbegan 5\ndoing idle\nprogress_ms 77\nevents 3\nerror_at"
		" 0\nerror \n";

	state_begin(&s);
	strcpy(s.doing, "failing");
	strcpy(s.error, "dst_db: it says \"no\"");
	s.queue.events = 12345678901;
	s.gain = 9;
	check_int("written", state_write(path, &s), 0);
	check_int("read", state_read(path, &back), 0);
	check_int("the same", memcmp(&s, &back, sizeof s), 0);
	check_int("of an earlier version", file_replace(path, span_of(old), 0600), 0);
	check_int("is read", state_read(path, &back), 0);
	check_int("as it was", back.pid == 12 && back.progress_ms == 77 && back.events == 3, true);
	check_int("lag unknown", back.queue.lag_ms, -1);
	check_int("no state file", file_replace(path, span_of("pid x\n"), 0600), 0);
	check_int("none", state_read(path, &back), -1);
	unlink(path);
}

int main(void)
{
	test_lines();
	test_reminders();
	test_state();
	test_file();
	return unit_end();
}

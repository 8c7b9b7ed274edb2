/*
 * metrics_listen: a child process answers GET /metrics and GET /health, so that no client ever
 * makes a batch wait. The process renders both pages into memory that it shares with the child.
 *
 * The child executes the program anew: it begins without the config's secrets, without connections
 * and with a heap of its own, also when it has to be started again later. It ends with its parent,
 * by the kernel's signal and by looking.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "private.h"

#define METRICS_MAX 65536               /* bytes of the page */
#define RESTART_MS 60000                /* least time between two starts of the child */
#define IN_USE_MS 2000                  /* an address may be in use for so long before we give up */
#define IN_USE_PAUSE_MS 20              /* between two attempts */
#define CHILD_NAME "tdispatch: metrics_listen"          /* its argv[0] */
#define CHILD_LISTENER 3                /* its descriptors */
#define CHILD_PAGES 4

/* Two copies: one is read while the other is written. seq counts what was published; the newest is
 * in copy seq % 2. */
struct listen_pages {
	size_t size;                    /* of this struct, as the parent knows it */
	pid_t parent;
	_Atomic uint64_t seq;
	struct copy {
		size_t n;               /* 0: it did not fit */
		char metrics[METRICS_MAX];
		struct state state;
	} copy[2];
};

/* ---- the child */

/* The newest copy; false: nothing was published yet. The writer needs one turn for the copy that is
 * not read, so it is whole if no turn ended meanwhile. */
static bool read_copy(struct listen_pages *pages, struct copy *to)
{
	for (;;) {
		uint64_t seq = atomic_load(&pages->seq);
		if (!seq)
			return false;
		memcpy(to, &pages->copy[seq % 2], sizeof *to);
		atomic_thread_fence(memory_order_seq_cst);
		if (atomic_load(&pages->seq) == seq)
			return true;
	}
}

static int write_metrics(void *arg, struct buf *body)
{
	static struct copy copy;

	if (!read_copy(arg, &copy) || !copy.n || copy.n > sizeof copy.metrics) {
		buf_str(body, "no metrics yet\n");
		return 503;
	}
	buf_add(body, copy.metrics, copy.n);
	return 200;
}

static int write_health(void *arg, struct buf *body)
{
	static struct copy copy;

	if (!read_copy(arg, &copy)) {
		buf_str(body, "starting\n");
		return 503;
	}
	struct health health = state_health(&copy.state);
	bool well = health_line(&health, HEALTH_STALL_S * 1000, 0, body);
	buf_str(body, "\n");
	return well ? 200 : 503;
}

/* What others left open before us, and a terminal, must not stay open because of us. */
static void close_others(void)
{
	process_detach();
	for (int fd = CHILD_PAGES + 1, n = (int)sysconf(_SC_OPEN_MAX); fd < n && fd < 4096; fd++)
		close(fd);
}

bool listen_is_child(int argc, char **argv)
{
	return argc == 1 && strcmp(argv[0], CHILD_NAME) == 0;
}

int listen_child(void)
{
	static const struct http_page list[] = {
		{ "/metrics", "text/plain; version=0.0.4; charset=utf-8", write_metrics },
		{ "/health", "text/plain; charset=utf-8", write_health },
		{ NULL, NULL, NULL },
	};
	size_t n = sizeof(struct listen_pages);
	struct listen_pages *pages = mmap(NULL, n, PROT_READ, MAP_SHARED, CHILD_PAGES, 0);

	if (pages == MAP_FAILED || pages->size != n)   /* another version */
		return 2;
	prctl(PR_SET_NAME, "tdispatch-http");
	close_others();
	http_serve(CHILD_LISTENER, list, pages, pages->parent);
	return 0;
}

/* ---- its parent */

/* In the child. The two descriptors may be each other's targets, so they go aside first. */
static void become_child(int listener, int pages, pid_t parent)
{
	static char name[] = CHILD_NAME;
	char *const argv[] = { name, NULL }, *const environment[] = { NULL };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	listener = fcntl(listener, F_DUPFD_CLOEXEC, CHILD_PAGES + 1);
	pages = fcntl(pages, F_DUPFD_CLOEXEC, CHILD_PAGES + 1);
	if (dup2(listener, CHILD_LISTENER) < 0 || dup2(pages, CHILD_PAGES) < 0)
		_exit(2);
	execve("/proc/self/exe", argv, environment);
	/* a root without /proc: by the path that it was started by */
	execve((const char *)(uintptr_t)getauxval(AT_EXECFN), argv, environment);
	_exit(127);
}

static void start_child(struct listen *l)
{
	pid_t parent = getpid();

	l->started_ms = clock_ms();
	l->child = fork();
	if (l->child == 0)
		become_child(l->fd, l->pages_fd, parent);
	if (l->child < 0) {
		log_warn("metrics_listen: cannot start a process: %s", strerror(errno));
		l->child = 0;
	}
}

static void look_after_child(struct listen *l)
{
	int status;

	if (l->child && waitpid(l->child, &status, WNOHANG) == l->child) {
		log_warn("metrics_listen: its process %d ended (%s %d); the next one starts %s",
			(int)l->child, WIFSIGNALED(status) ? "signal" : "exit code",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
			clock_ms() - l->started_ms < RESTART_MS ? "within a minute" : "now");
		l->child = 0;
	}
	if (!l->child && (!l->started_ms || clock_ms() - l->started_ms >= RESTART_MS))
		start_child(l);
}

static void stop_child(struct listen *l)
{
	if (l->child) {
		kill(l->child, SIGKILL);
		waitpid(l->child, NULL, 0);
	}
	l->child = 0;
	l->started_ms = 0;
}

static int open_pages(struct listen *l)
{
	int fd = memfd_create("tdispatch", MFD_CLOEXEC);

	if (fd < 0)
		return -1;
	l->pages_fd = fd;
	if (ftruncate(fd, sizeof *l->pages) < 0)
		return -1;
	void *at = mmap(NULL, sizeof *l->pages, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return -1;
	l->pages = at;
	l->pages->size = sizeof *l->pages;
	l->pages->parent = getpid();
	return 0;
}

/* The descriptor, or -1 with errno. Waits for an address in use: the child of a process that was
 * killed just now ends a moment after it. */
static int open_socket(const char *address)
{
	struct socket_address a;
	int64_t end_ms = clock_ms() + IN_USE_MS;
	int fd;

	if (!socket_address(address, &a)) {
		errno = EINVAL;
		return -1;
	}
	while ((fd = socket_listen(&a)) < 0 && errno == EADDRINUSE && clock_ms() < end_ms)
		poll(NULL, 0, IN_USE_PAUSE_MS);
	return fd;
}

int listen_open(struct listen *l, const char *address, struct err *e)
{
	if (!address)
		return 0;
	l->address = mem_text(address);
	l->fd = open_socket(address);
	if (l->fd <= 0 || open_pages(l) < 0) {
		err_set(e, ERR_CONF, "cannot listen on metrics_listen %s: %s", address,
			errno == EADDRINUSE ? "another process listens there" : strerror(errno));
		listen_close(l);
		return e->code;
	}
	log_info("metrics_listen: GET /metrics and /health on %s", address);
	return 0;
}

void listen_publish(struct listen *l, struct span metrics, const struct state *state)
{
	uint64_t seq = atomic_load(&l->pages->seq) + 1;
	struct copy *copy = &l->pages->copy[seq % 2];
	copy->n = metrics.n <= sizeof copy->metrics ? metrics.n : 0;
	memcpy(copy->metrics, metrics.p, copy->n);
	copy->state = *state;
	atomic_store(&l->pages->seq, seq);
	look_after_child(l);
}

bool listen_is_open(const struct listen *l)
{
	return l->pages;
}

void listen_close(struct listen *l)
{
	stop_child(l);
	if (l->fd > 0 && *l->address == '/')
		unlink(l->address);
	if (l->fd > 0)
		close(l->fd);
	if (l->pages)
		munmap(l->pages, sizeof *l->pages);
	if (l->pages_fd > 0)
		close(l->pages_fd);
	free(l->address);
	*l = (struct listen){ 0 };
}

// The load generator: as many threads as streams, blocking sockets, and no more reading than it takes to find the first
// text, the times that the scripted harness wrote into it, and the end of an answer.
//
//   client http PORT CLIENTS TURNS WARM PAUSE REQUEST MARKER [STOP]
//     Each client has one connection and sends the bytes of the file REQUEST, TURNS times after WARM times that do not
//     count. In them `%CLIENT%` becomes the client's number and `%NUMBER%` one that is never repeated, both in eight
//     digits. MARKER is what the first text looks like. With STOP an answer is over when MARKER was seen so often. Before
//     each turn it waits at random up to PAUSE microseconds, so that turns do not begin together.
//   client stdio PROGRAM STREAMS TURNS WARM PAUSE TEXT
//     The same by hand: a scripted harness for each stream, driven over its standard input and output.
//
// Prints `CLIENT FIRST INPUT WRITTEN TOTAL BYTES MARKERS` for each turn that counts, times in nanoseconds from the moment
// before the request was sent: to the first text, to the harness's having read it, to the harness's having written that
// text, to the end. The last line: `wall NANOSECONDS cpu NANOSECONDS`.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 18, TAIL = 128 };

struct sample {
  long long first, input, written, total, bytes, markers;
};

struct client {
  int index, in, out;
  char *request, *buffer;
  size_t length;
  struct sample *samples;
};

static int clients, turns, warm, pause_most, port, stop_after;
static const char *marker, *program, *text;
static char *file;
static size_t file_length;
static atomic_long numbers;
static pthread_barrier_t barrier;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void write_all(int descriptor, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t count = write(descriptor, bytes, length);
    if (count <= 0) fail("write");
    bytes += count;
    length -= count;
  }
}

// Looks at what has come: the marker's place, the harness's times behind it, the answer's end.
struct answer {
  long long begun, first, input, written;
  long long bytes, markers, content_length, body_start;
  int is_http, is_over;
};

static void look(struct answer *a, const char *bytes, size_t fresh, size_t old) {
  // `bytes` holds `old` bytes that were seen before, so that what lies across two reads is found.
  size_t mark = strlen(marker), length = old + fresh;
  const char *at = bytes, *end = bytes + length, *found;
  while ((found = memmem(at, end - at, marker, mark))) {
    at = found + mark;
    if (at <= bytes + old) continue;
    if (a->markers++ == 0) {
      a->first = now() - a->begun;
      const char *stamp = memchr(at, '@', end - at);
      long long input, written;
      if (stamp && sscanf(stamp, "@%lld,%lld ", &input, &written) == 2) {
        a->input = input - a->begun;
        a->written = written - a->begun;
      }
    }
  }
  a->bytes += fresh;
  if (stop_after) {
    a->is_over = a->markers >= stop_after;
  } else if (!a->is_http) {
    a->is_over = memmem(bytes, length, "turn/completed", 14) != NULL;
  } else if (a->content_length >= 0) {
    a->is_over = a->bytes >= a->body_start + a->content_length;
  } else {
    a->is_over = length >= 5 && memcmp(end - 5, "0\r\n\r\n", 5) == 0;
  }
}

static void read_head(struct answer *a, const char *bytes, size_t length) {
  const char *end = memmem(bytes, length, "\r\n\r\n", 4);
  if (!end || strncmp(bytes, "HTTP/1.1 2", 10) != 0) {
    fprintf(stderr, "an unexpected answer: %.*s\n", (int)(length < 2000 ? length : 2000), bytes);
    exit(1);
  }
  a->body_start = end + 4 - bytes;
  a->content_length = -1;
  const char *found = strcasestr(bytes, "\ncontent-length:");
  if (found && found < end) a->content_length = strtoll(found + 16, NULL, 10);
}

static void one_turn(struct client *c, struct sample *sample) {
  struct answer a = {.begun = 0, .is_http = program == NULL, .content_length = -1};
  size_t old = 0;
  a.begun = now();
  write_all(c->out, c->request, c->length);
  int is_head = a.is_http;
  while (!a.is_over) {
    ssize_t count = read(c->in, c->buffer + old, BUFFER - old - 1);
    if (count <= 0) fail("the connection ended in the middle of an answer");
    c->buffer[old + count] = 0;
    if (is_head) read_head(&a, c->buffer, count);
    is_head = 0;
    look(&a, c->buffer, count, old);
    size_t length = old + count, keep = length < TAIL ? length : TAIL;
    memmove(c->buffer, c->buffer + length - keep, keep);
    old = keep;
  }
  *sample = (struct sample){a.first, a.input, a.written, now() - a.begun, a.bytes, a.markers};
}

static void put_number(struct client *c, const char *name, long number) {
  char digits[16];
  snprintf(digits, sizeof digits, "%08ld", number);
  for (size_t at = 0; at + 8 <= file_length;) {
    char *found = memmem(file + at, file_length - at, name, 8);
    if (!found) return;
    at = found - file;
    memcpy(c->request + at, digits, 8);
    at += 8;
  }
}

static void connect_http(struct client *c) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  c->in = c->out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int one = 1;
  setsockopt(c->in, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(c->in, (struct sockaddr *)&address, sizeof address)) fail("connect");
  c->request = malloc(c->length = file_length);
  memcpy(c->request, file, file_length);
  put_number(c, "%CLIENT%", c->index);
}

static void read_line(struct client *c, const char *needle) {
  size_t length = 0;
  do {
    ssize_t count = read(c->in, c->buffer + length, BUFFER - length - 1);
    if (count <= 0) fail("the harness ended");
    length += count;
  } while (!memmem(c->buffer, length, needle, strlen(needle)));
}

static void start_harness(struct client *c) {
  int in[2], out[2];
  if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) fail("pipe2");
  if (fork() == 0) {
    dup2(in[0], 0);
    dup2(out[1], 1);
    execl(program, program, "app-server", NULL);
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  c->out = in[1];
  c->in = out[0];
  const char *hello = "{\"id\":1,\"method\":\"initialize\",\"params\":{}}\n{\"method\":\"initialized\"}\n"
                      "{\"id\":2,\"method\":\"thread/start\",\"params\":{}}\n";
  write_all(c->out, hello, strlen(hello));
  read_line(c, "\"thread\"");
  c->length = asprintf(&c->request, "{\"id\":3,\"method\":\"turn/start\",\"params\":{\"threadId\":\"bench\",\"input\":"
                       "[{\"type\":\"text\",\"text\":\"%s\"}]}}\n", text);
}

static void *run(void *argument) {
  struct client *c = argument;
  unsigned seed = c->index + 1;
  for (int turn = -warm; turn < turns; turn++) {
    struct sample ignored;
    if (turn == 0) pthread_barrier_wait(&barrier);
    if (pause_most) usleep(rand_r(&seed) % pause_most);
    if (!program) put_number(c, "%NUMBER%", atomic_fetch_add(&numbers, 1));
    one_turn(c, turn < 0 ? &ignored : &c->samples[turn]);
  }
  return NULL;
}

static long long cpu(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000LL +
         (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000LL;
}

static void read_file(const char *path) {
  FILE *opened = fopen(path, "rb");
  if (!opened) fail(path);
  fseek(opened, 0, SEEK_END);
  file = malloc(file_length = ftell(opened));
  rewind(opened);
  if (fread(file, 1, file_length, opened) != file_length) fail(path);
  fclose(opened);
}

int main(int count, char **arguments) {
  if (count < 8) return fprintf(stderr, "usage: see the beginning of client.c\n"), 2;
  clients = atoi(arguments[3]);
  turns = atoi(arguments[4]);
  warm = atoi(arguments[5]);
  pause_most = atoi(arguments[6]);
  if (strcmp(arguments[1], "http") == 0) {
    port = atoi(arguments[2]);
    read_file(arguments[7]);
    marker = arguments[8];
    stop_after = count > 9 ? atoi(arguments[9]) : 0;
    // Unlike in any earlier run against the same server.
    numbers = time(NULL) % 10000 * 10000 + getpid() % 100 * 100;
  } else {
    program = arguments[2];
    text = arguments[7];
    marker = "item/agentMessage/delta";
  }
  struct client *all = calloc(clients, sizeof *all);
  pthread_t *threads = calloc(clients, sizeof *threads);
  pthread_barrier_init(&barrier, NULL, clients + 1);
  for (int i = 0; i < clients; i++) {
    all[i].index = i;
    all[i].buffer = malloc(BUFFER);
    all[i].samples = calloc(turns, sizeof *all[i].samples);
    if (program) start_harness(&all[i]);
    else connect_http(&all[i]);
    pthread_create(&threads[i], NULL, run, &all[i]);
  }
  pthread_barrier_wait(&barrier);
  long long begun = now(), used = cpu();
  for (int i = 0; i < clients; i++) pthread_join(threads[i], NULL);
  long long wall = now() - begun;
  used = cpu() - used;
  for (int i = 0; i < clients; i++) {
    for (int turn = 0; turn < turns; turn++) {
      struct sample s = all[i].samples[turn];
      printf("%d %lld %lld %lld %lld %lld %lld\n", i, s.first, s.input, s.written, s.total, s.bytes, s.markers);
    }
    close(all[i].out);
  }
  printf("wall %lld cpu %lld\n", wall, used);
}

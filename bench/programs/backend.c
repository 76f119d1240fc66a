// A scripted model backend for the LiteLLM proxy: `backend DELTAS SIZE` answers each POST with a stream of chat
// completion chunks (or of Responses events, by the path), all in one write. Prints its port.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct answer {
  char *bytes;
  size_t length;
};

static struct answer chat, responses;

static void frame(FILE *out, const char *data) { fprintf(out, "%zx\r\ndata: %s\n\n\r\n", strlen(data) + 8, data); }

static void head(FILE *out) {
  fprintf(out, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
}

static void write_chat(int deltas, const char *text) {
  FILE *out = open_memstream(&chat.bytes, &chat.length);
  const char *format = "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1795478870,\"model\":\"bench\","
                       "\"choices\":[{\"index\":0,\"delta\":{%s%s%s},\"finish_reason\":%s}]}";
  char *data;
  head(out);
  for (int i = 0; i < deltas; i++) {
    if (asprintf(&data, format, i ? "\"content\":\"" : "\"role\":\"assistant\",\"content\":\"", text, "\"", "null") < 0) exit(1);
    frame(out, data);
    free(data);
  }
  if (asprintf(&data, format, "", "", "", "\"stop\"") < 0) exit(1);
  frame(out, data);
  free(data);
  frame(out, "[DONE]");
  fprintf(out, "0\r\n\r\n");
  fclose(out);
}

static void write_responses(int deltas, const char *text) {
  FILE *out = open_memstream(&responses.bytes, &responses.length);
  const char *response = "{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":1795478870,\"status\":\"%s\",\"model\":\"bench\","
                         "\"parallel_tool_calls\":true,\"tool_choice\":\"auto\",\"tools\":[],\"output\":[%s],\"usage\":%s}";
  const char *item = "{\"type\":\"message\",\"id\":\"msg_1\",\"status\":\"completed\",\"role\":\"assistant\",\"content\":"
                     "[{\"type\":\"output_text\",\"text\":\"%s\",\"annotations\":[]}]}";
  char *whole, *data, *body;
  head(out);
  if (asprintf(&whole, response, "in_progress", "", "null") < 0) exit(1);
  if (asprintf(&data, "{\"type\":\"response.created\",\"sequence_number\":0,\"response\":%s}", whole) < 0) exit(1);
  frame(out, data);
  frame(out, "{\"type\":\"response.output_item.added\",\"sequence_number\":1,\"output_index\":0,\"item\":{\"type\":\"message\","
             "\"id\":\"msg_1\",\"status\":\"in_progress\",\"role\":\"assistant\",\"content\":[]}}");
  for (int i = 0; i < deltas; i++) {
    if (asprintf(&data, "{\"type\":\"response.output_text.delta\",\"sequence_number\":%d,\"item_id\":\"msg_1\",\"output_index\":0,"
                 "\"content_index\":0,\"delta\":\"%s\",\"logprobs\":[]}", i + 2, text) < 0) exit(1);
    frame(out, data);
    free(data);
  }
  if (asprintf(&body, item, text) < 0) exit(1);
  if (asprintf(&data, "{\"type\":\"response.output_item.done\",\"sequence_number\":%d,\"output_index\":0,\"item\":%s}", deltas + 2, body) < 0) exit(1);
  frame(out, data);
  if (asprintf(&whole, response, "completed", body,
               "{\"input_tokens\":120,\"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":7,"
               "\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":127}") < 0) exit(1);
  if (asprintf(&data, "{\"type\":\"response.completed\",\"sequence_number\":%d,\"response\":%s}", deltas + 3, whole) < 0) exit(1);
  frame(out, data);
  fprintf(out, "0\r\n\r\n");
  fclose(out);
}

static void *serve(void *argument) {
  int connection = (int)(long)argument;
  size_t size = 32 << 20, length = 0;
  char *in = malloc(size + 1);
  while (1) {
    char *end;
    in[length] = 0;
    while (!(end = memmem(in, length, "\r\n\r\n", 4))) {
      ssize_t count = length < size ? read(connection, in + length, size - length) : 0;
      if (count <= 0) goto over;
      in[length += count] = 0;
    }
    char *found = strcasestr(in, "\ncontent-length:");
    size_t whole = end + 4 - in + (found && found < end ? strtoul(found + 16, NULL, 10) : 0);
    if (whole > size) goto over;
    while (length < whole) {
      ssize_t count = read(connection, in + length, size - length);
      if (count <= 0) goto over;
      length += count;
    }
    struct answer *answer = strstr(in, "/responses") && strstr(in, "/responses") < strchr(in, '\n') ? &responses : &chat;
    for (size_t done = 0; done < answer->length;) {
      ssize_t count = write(connection, answer->bytes + done, answer->length - done);
      if (count <= 0) goto over;
      done += count;
    }
    memmove(in, in + whole, length -= whole);
  }
over:
  close(connection);
  free(in);
  return NULL;
}

int main(int count, char **arguments) {
  if (count != 3) return fprintf(stderr, "usage: backend DELTAS SIZE\n"), 2;
  char text[4097];
  int size = atoi(arguments[2]);
  memset(text, 'x', sizeof text);
  text[size < 4096 ? size : 4096] = 0;
  write_chat(atoi(arguments[1]), text);
  write_responses(atoi(arguments[1]), text);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t address_length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 128)) return perror("listen"), 1;
  getsockname(listener, (struct sockaddr *)&address, &address_length);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  while (1) {
    int connection = accept(listener, NULL, NULL);
    if (connection < 0) continue;
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    pthread_t thread;
    pthread_create(&thread, NULL, serve, (void *)(long)connection);
    pthread_detach(thread);
  }
}

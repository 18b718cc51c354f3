/*
 * Writes down what a host receives for a UDP port, on all of its interfaces: one line of hexadecimal digits for the
 * content of each datagram. lab-capture PORT; "ready" on standard output when nothing is missed any more.
 */
#include <arpa/inet.h>
#include <err.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

/* Where the UDP header of a packet begins; 0 if it has none, or is a fragment, or has extension headers. */
static size_t udp_offset(const uint8_t *packet, size_t length)
{
  if (length >= 20 && packet[0] >> 4 == 4) {
    size_t header = (packet[0] & 15) * 4u;
    int fragment = ((packet[6] & 0x3f) << 8) | packet[7];
    return packet[9] == IPPROTO_UDP && fragment == 0 ? header : 0;
  }
  return length >= 40 && packet[0] >> 4 == 6 && packet[6] == IPPROTO_UDP ? 40 : 0;
}

int main(int argc, char **argv)
{
  if (argc != 2)
    errx(2, "usage: lab-capture PORT");
  int port = atoi(argv[1]);
  int sock = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL));
  if (sock < 0)
    err(1, "socket");
  puts("ready");
  fflush(stdout);
  static uint8_t packet[65536];
  for (;;) {
    struct sockaddr_ll from;
    socklen_t size = sizeof from;
    ssize_t got = recvfrom(sock, packet, sizeof packet, 0, (struct sockaddr *)&from, &size);
    if (got < 0)
      err(1, "recvfrom");
    size_t length = (size_t)got, udp = udp_offset(packet, length);
    if (from.sll_pkttype == PACKET_OUTGOING || udp == 0 || length < udp + 8)
      continue;
    if ((packet[udp + 2] << 8 | packet[udp + 3]) != port)
      continue;
    size_t end = udp + (size_t)(packet[udp + 4] << 8 | packet[udp + 5]);
    for (size_t at = udp + 8; at < end && at < length; at++)
      printf("%02x", packet[at]);
    putchar('\n');
    fflush(stdout);
  }
}

// Package capfile reads capture files: pcap and pcapng, gzip or not, in either
// byte order, one packet at a time and several files merged by time; and takes
// out of them the datagrams that exporters of flows have sent. What a file
// holds bounds neither its memory nor makes it panic: a file that is cut or
// damaged ends there, and says where.
package capfile

package sdk

// Labels are the names that Event.Label may have where an attack's kind was
// found by the rules of evidence; inspectors may find others.
func Labels() []string {
	return []string{
		// TCP by its flags.
		"xmas_flood", "syn_flood", "syn_ack_reflection", "rst_flood", "fin_flood", "ack_flood", "null_flood", "tcp_flood",
		// Answers of services, by the UDP port they come from.
		"qotd_reflection", "chargen_reflection", "dns_reflection", "tftp_reflection", "portmap_reflection", "ntp_reflection", "netbios_reflection",
		"snmp_reflection", "cldap_reflection", "slp_reflection", "isakmp_reflection", "rip_reflection", "ssdp_reflection", "ard_reflection",
		"rdp_reflection", "ws_discovery_reflection", "mdns_reflection", "coap_reflection", "ubiquiti_reflection", "memcached_reflection", "dvr_reflection",
		// By protocol.
		"udp_flood", "icmp_flood", "gre_flood", "ip_flood",
		// What no single packet tells.
		"fragmentation", "carpet", "mixed", "unknown",
	}
}

/** The peers, as Debian ships them; unpacked for the hosts by the laboratory and never installed. */
export const peerPackages: readonly string[] = ['corosync', 'pacemaker', 'pacemaker-cli-utils', 'keepalived'];

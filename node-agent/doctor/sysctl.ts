/** @returns the command that sets them (`name=value`) now and at every boot. */
export function setSysctls(settings: readonly string[]): string {
  const words = settings.join(' ');
  return `sysctl -w ${words} && printf '%s\\n' ${words} >>/etc/sysctl.d/90-holdfast.conf`;
}

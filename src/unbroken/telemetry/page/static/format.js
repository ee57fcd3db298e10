// Numbers as a person reads them. Everything here is pure.

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const NONE = "–";

export const count = (n) => (n == null ? NONE : n < 100_000 ? whole.format(n) : short.format(n));

/** A share of one as per cent; never rounds a failure away: 99.96 % is not "100 %". */
export function share(x) {
  if (x == null) return NONE;
  if (x === 1 || x === 0) return `${x * 100} %`;
  const percent = Math.min(99.9, Math.max(0.1, Math.floor(x * 1000) / 10));
  return `${percent.toFixed(1)} %`;
}

export function seconds(s) {
  if (s == null) return NONE;
  if (s < 0.00005) return "0 ms";
  if (s < 0.0095) return `${(s * 1000).toFixed(1)} ms`;
  if (s < 0.9995) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  const minutes = Math.floor(s / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function bytes(n) {
  if (n == null) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (n >= 1000 && at < units.length - 1) { n /= 1000; at += 1; }
  return `${at === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[at]}`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
export const time = (epochSeconds) => clock.format(new Date(epochSeconds * 1000));

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

// The latest faults by kind, the latest kind first: what it means and what to do once, then where it was seen.

import { byId, follow, make, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";

function create(group) {
  return make("li", {},
    make("h3", {}, make("span", { text: group.kind }), make("span", { class: "often" })),
    make("p", { text: group.cause }),
    group.avoid ? make("p", { class: "avoid", text: group.avoid }) : null,
    make("p", { class: "remedy", text: group.remedy }),
    group.record ? make("p", { class: "record" }, make("code", { text: `unbroken explain ${group.record}` })) : null,
    make("ul"));
}

function update(node, group) {
  const [head, seen] = [node.firstChild, node.lastChild];
  const more = group.count > group.latest.length ? `, the latest ${group.latest.length} here` : "";
  setText(head.lastChild, `${format.count(group.count)} of late${more}`);
  follow(seen, group.latest, { key: (fault) => fault.key, create: createOne, update: () => {} });
}

function createOne(fault) {
  const where = [fault.provider, fault.model, fault.id].filter(Boolean).join(" · ");
  const tone = fault.healed ? "good" : { fatal: "bad", warning: "warn" }[fault.severity];
  const tag = make("span", { class: "tag", text: fault.healed ? `continued by ${fault.healed}` : fault.severity });
  setAttribute(tag, "data-tone", tone);
  return make("li", {},
    make("time", { datetime: new Date(fault.at * 1000).toISOString(), text: format.time(fault.at) }),
    make("span", {}, where, " ", tag),
    fault.detail ? make("span", { class: "detail", text: fault.detail }) : null);
}

export function draw(state) {
  follow(byId("faults"), state.faults, { key: (group) => group.kind, create, update });
  // From the second time on: nobody wants the whole past read aloud on arrival.
  setTimeout(() => byId("faults").setAttribute("aria-live", "polite"));
  const about = byId("faults-about");
  about.hidden = state.faults.length > 0;
}

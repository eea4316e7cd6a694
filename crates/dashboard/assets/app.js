const state = document.getElementById("state");
const pools = document.getElementById("pools");

function row(table, name, value) {
  const tr = table.insertRow();
  const th = document.createElement("th");
  th.scope = "row";
  th.textContent = name;
  tr.append(th);
  tr.insertCell().textContent = value;
}

function section(pool) {
  const section = document.createElement("section");
  const heading = document.createElement("h2");
  heading.textContent = pool.name;
  const table = document.createElement("table");
  const status = typeof pool.info.status === "string" ? pool.info.status : `suspended (${pool.info.status.suspended})`;
  row(table, "Status", status);
  row(table, "Connections", `${pool.info.connections} of ${pool.info.max_connections}`);
  row(table, "Accepted per second", pool.rates.accepted.toFixed(1));
  row(table, "Packets per second", pool.rates.packets.toFixed(1));
  row(table, "Bytes received, sent per second", `${pool.rates.bytes_in.toFixed(0)}, ${pool.rates.bytes_out.toFixed(0)}`);
  row(table, "Unsent bytes", pool.info.unsent);
  for (const listener of pool.listeners) {
    row(table, `Listener ${listener.name}`, `${listener.url}, ${listener.connections} connections`);
  }
  section.append(heading, table);
  return section;
}

const stream = new EventSource("stream");
stream.addEventListener("update", (event) => {
  const update = JSON.parse(event.data);
  state.textContent = `Updated ${new Date(update.time_ms).toLocaleTimeString()}`;
  pools.replaceChildren(...update.pools.map(section));
});
stream.addEventListener("error", () => {
  state.textContent = "Not connected: the numbers are old. Connecting again.";
});

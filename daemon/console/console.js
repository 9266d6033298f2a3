// The console: asks /debug/status each second and shows the differences. Nothing is fetched from elsewhere, and what
// the daemon says (names come from configurations and clients) is put in as text, never as markup.
'use strict';
(() => {
  const PERIOD = 1000, KEPT = 300, MOST_TEXT = 256 * 1024, MOST_LINES = 8;
  const $ = (id) => document.getElementById(id);
  const make = (tag, text, attributes) => {
    const e = document.createElement(tag);
    if (text !== undefined) e.textContent = text;
    for (const [k, v] of Object.entries(attributes || {})) e.setAttribute(k, v);
    return e;
  };

  // ---- numbers for people
  const known = (n) => typeof n === 'number' && Number.isFinite(n);
  const count = (n) => !known(n) ? '–' : Math.abs(n) >= 100 || Number.isInteger(n) ? Math.round(n).toLocaleString('en')
    : n.toFixed(Math.abs(n) < 10 ? 2 : 1);
  const bytes = (n) => {
    if (!known(n)) return '–';
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let u = 0;
    while (Math.abs(n) >= 1024 && u < units.length - 1) { n /= 1024; ++u; }
    return (u === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)) + ' ' + units[u];
  };
  const time = (s) => !known(s) ? '–' : s < 1e-3 ? Math.round(s * 1e6) + ' µs' : s < 1 ? (s * 1e3).toFixed(s < 0.1 ? 1 : 0) + ' ms'
    : s < 60 ? s.toFixed(1) + ' s' : s < 7200 ? Math.floor(s / 60) + ' min' : s < 172800 ? Math.floor(s / 3600) + ' h'
      : Math.floor(s / 86400) + ' d';
  // Of requests: what lies in the first bucket is known to be below its bound and no more.
  let lowestBound = 0;
  const latency = (s) => known(s) && s <= lowestBound ? '<' + time(lowestBound) : time(s);
  const percent = (n) => known(n) ? Math.round(n * 100) + ' %' : '–';

  // ---- differences of two documents
  const byKey = (rows, key) => new Map((rows || []).map((r) => [key(r), r]));
  // What was not there before began since; a counter that fell has begun anew.
  const rate = (now, before, seconds) => seconds > 0 && known(now) ? Math.max(now - (before || 0), 0) / seconds : NaN;
  const minus = (now, before) => now.map((n, i) => Math.max(n - (before ? before[i] || 0 : 0), 0));
  const quantile = (counts, bounds, q) => {
    const all = counts.reduce((a, b) => a + b, 0);
    if (all === 0) return null;
    let below = 0;
    for (let i = 0; i < counts.length; ++i) {
      const from = i === 0 ? 0 : bounds[i - 1];
      if (counts[i] > 0 && below + counts[i] >= q * all)
        return i < bounds.length ? from + (bounds[i] - from) * (q * all - below) / counts[i] : from;
      below += counts[i];
    }
    return bounds[bounds.length - 1];
  };
  const routeKey = (r) => r.listener + '\u0000' + r.route;

  // ---- charts
  const COLORS = ['--c1', '--c2', '--c3', '--c4', '--c5', '--c6', '--c7', '--c8'];
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  class Chart {
    constructor(title, format, range) {
      this.format = format; this.range = range; this.names = []; this.times = []; this.lines = [];
      this.figure = make('figure', undefined, {class: 'chart', 'aria-label': title});
      this.list = make('ul');
      this.place = make('div', undefined, {class: 'plot', 'aria-hidden': 'true'});
      this.figure.append(make('figcaption', title), this.list, this.place);
      $('charts').append(this.figure);
    }
    add(at, values) {
      const names = Object.keys(values).slice(0, MOST_LINES);
      const grew = names.some((n) => !this.names.includes(n)) && this.names.length < MOST_LINES;
      for (const n of names) if (!this.names.includes(n) && this.names.length < MOST_LINES) {
        this.names.push(n);
        this.lines.push(this.times.map(() => null));
      }
      // The daemon's clock was set back: what was drawn of a time that is not yet goes, for times only rise in a chart.
      while (this.times.length && this.times[this.times.length - 1] >= at) for (const line of [this.times, ...this.lines]) line.pop();
      this.times.push(at);
      this.lines.forEach((line, i) => line.push(known(values[this.names[i]]) ? values[this.names[i]] : null));
      if (this.times.length > KEPT) for (const line of [this.times, ...this.lines]) line.shift();
      if (grew || !this.plot) this.draw(); else this.plot.setData([this.times, ...this.lines]);
      while (this.list.children.length < this.names.length) {
        const item = make('li');
        item.append(make('span'));
        this.list.append(item);
      }
      this.names.forEach((n, i) => { this.list.children[i].firstChild.textContent = n + ' ' + this.format(values[n]); });
    }
    size() { return {width: Math.max(this.place.clientWidth, 100), height: 150}; }
    draw() {
      if (this.plot) this.plot.destroy();
      const axis = {stroke: color('--dim'), grid: {stroke: color('--line'), width: 1}, ticks: {stroke: color('--line'), width: 1}};
      this.plot = new uPlot({
        ...this.size(), legend: {show: false}, cursor: {drag: {x: false, y: false}, points: {show: false}},
        scales: {y: {range: this.range || ((u, low, high) => [0, high > 0 ? high * 1.1 : 1])}},
        axes: [{...axis, space: 70}, {...axis, size: 62, values: (u, ticks) => ticks.map((t) => t === null ? '' : this.format(t))}],
        series: [{}, ...this.names.map((n, i) => ({label: n, stroke: color(COLORS[i]), width: 1.5, points: {show: false}}))],
      }, [this.times, ...this.lines], this.place);
    }
    resize() { if (this.plot) this.plot.setSize(this.size()); }
  }
  const charts = {
    requests: new Chart('Requests a second', count),
    latency: new Chart('Latency of requests', time),
    load: new Chart('Load of each Processor', percent, () => [0, 1]),
    fibers: new Chart('Fibers by state', count),
    stacks: new Chart('Stacks', bytes),
    stalls: new Chart('Stalls a second', count),
    sheds: new Chart('Refused and shed a second', count),
    connections: new Chart('Connections', count),
  };

  // ---- tables: rows stay where they are while they are the same ones, so that focus and selection do
  class Table {
    constructor(name, caption, columns, key, sort) {
      this.place = document.querySelector('[data-table="' + name + '"]');
      this.columns = columns; this.key = key; this.rows = new Map(); this.sort = sort; this.descending = true;
      this.place.setAttribute('role', 'region');
      this.place.setAttribute('aria-label', caption);
      this.place.tabIndex = 0;
      const table = make('table');
      const head = make('tr');
      columns.forEach((c, i) => {
        const th = make('th', undefined, {scope: 'col', class: c.text ? 'text' : ''});
        const button = make('button', c.title, {type: 'button'});
        button.addEventListener('click', () => {
          this.descending = this.sort === i ? !this.descending : !c.text;
          this.sort = i;
          this.show(this.last || []);
        });
        th.append(button);
        head.append(th);
      });
      const thead = make('thead');
      thead.append(head);
      this.heads = [...head.children];
      this.body = make('tbody');
      table.append(thead, this.body);
      this.table = table;
      this.empty = make('p', 'none', {class: 'note'});
      this.place.append(this.empty);
    }
    show(rows) {
      this.last = rows;
      if ((rows.length === 0) !== (this.empty.isConnected)) this.place.replaceChildren(rows.length ? this.table : this.empty);
      this.heads.forEach((h, i) => {
        if (i === this.sort) h.setAttribute('aria-sort', this.descending ? 'descending' : 'ascending');
        else h.removeAttribute('aria-sort');
      });
      const by = this.columns[this.sort].of;
      const sorted = rows.slice().sort((a, b) => {
        const x = by(a), y = by(b);
        const order = typeof x === 'string' || typeof y === 'string' ? String(x).localeCompare(String(y))
          : (known(x) ? x : -Infinity) - (known(y) ? y : -Infinity);
        return (order || 0) * (this.descending ? -1 : 1);
      });
      const seen = new Set();
      const order = [];
      for (const r of sorted) {
        const key = this.key(r);
        if (seen.has(key)) continue;
        seen.add(key);
        let row = this.rows.get(key);
        if (!row) this.rows.set(key, row = this.begin(key));
        this.columns.forEach((c, i) => {
          const text = c.format ? c.format(c.of(r)) : String(c.of(r) ?? '');
          const cell = row.cells[i];
          if (cell.textContent !== text) cell.textContent = text;
          if (c.text && cell.title !== text) cell.title = text;
        });
        order.push(row.tr);
        if (row.more) order.push(row.more);
      }
      for (const [key, row] of this.rows) if (!seen.has(key)) {
        row.tr.remove();
        if (row.more) row.more.remove();
        this.rows.delete(key);
      }
      if (order.some((e, i) => this.body.children[i] !== e)) {
        const focused = document.activeElement;
        this.body.append(...order);
        if (focused && focused !== document.activeElement && this.body.contains(focused)) focused.focus({preventScroll: true});
      }
    }
    begin(key) {
      const tr = make('tr');
      const row = {tr, cells: [], more: null};
      this.columns.forEach((c) => {
        const td = make('td', undefined, {class: c.text ? 'text' : ''});
        tr.append(td);
        if (!c.open) { row.cells.push(td); return; }
        const button = make('button', '', {type: 'button', 'aria-expanded': 'false'});
        td.append(button);
        row.cells.push(button);
        button.addEventListener('click', () => this.toggle(row, button, key, c.open));
      });
      return row;
    }
    toggle(row, button, key, path) {
      if (row.more) {
        row.more.remove();
        row.more = null;
        button.setAttribute('aria-expanded', 'false');
        return;
      }
      row.more = make('tr');
      const td = make('td', undefined, {class: 'open', colspan: this.columns.length});
      const pre = make('pre', '…', {tabindex: '0', 'aria-label': 'Stacks of ' + key});
      td.append(pre);
      row.more.append(td);
      row.tr.after(row.more);
      button.setAttribute('aria-expanded', 'true');
      text(path(key)).then((t) => { pre.textContent = t; }, (e) => { pre.textContent = String(e.message || e); });
    }
  }
  /// At most so much of a page, which may have a hundred thousand fibers.
  async function text(path) {
    const answer = await fetch(path, {cache: 'no-store', credentials: 'same-origin'});
    if (!answer.ok) throw new Error(path + ': ' + answer.status + ' ' + answer.statusText);
    const reader = answer.body.getReader();
    const decoder = new TextDecoder();
    let all = '';
    for (;;) {
      const {done, value} = await reader.read();
      if (done) return all + decoder.decode();
      all += decoder.decode(value, {stream: true});
      if (all.length < MOST_TEXT) continue;
      reader.cancel();
      return all.slice(0, MOST_TEXT) + '\n… the rest is at ' + path;
    }
  }
  const labels = (r, but) => Object.entries(r).filter(([k]) => !but.includes(k)).map(([k, v]) => k + '=' + v).join(' ');
  const tables = {
    sites: new Table('sites', 'Fibers by spawn site', [
      {title: 'site', text: true, of: (r) => r.site, open: (site) => 'debug/fibers?debug=1&site=' + encodeURIComponent(site)},
      {title: 'name', text: true, of: (r) => r.name + (r.names ? ' …' : '')},
      {title: 'fibers', of: (r) => r.count, format: count},
      {title: 'oldest wait', of: (r) => r.waiting ? r.oldest_seconds : NaN, format: time},
      {title: 'for', text: true, of: (r) => r.oldest_reason || ''},
      {title: 'waiting', of: (r) => r.waiting, format: count},
      {title: 'runnable', of: (r) => r.runnable, format: count},
      {title: 'running', of: (r) => r.running, format: count},
    ], (r) => r.site, 2),
    reasons: new Table('reasons', 'What fibers wait for', [
      {title: 'reason', text: true, of: (r) => r.reason},
      {title: 'fibers', of: (r) => r.count, format: count},
      {title: 'oldest', of: (r) => r.oldest_seconds, format: time},
    ], (r) => r.reason, 1),
    routes: new Table('routes', 'Routes', [
      {title: 'route', text: true, of: (r) => r.route},
      {title: 'listener', text: true, of: (r) => r.listener},
      {title: 'requests/s', of: (r) => r.rate, format: count},
      {title: 'p50', of: (r) => r.p50, format: latency}, {title: 'p90', of: (r) => r.p90, format: latency},
      {title: 'p99', of: (r) => r.p99, format: latency},
      {title: 'in flight', of: (r) => r.in_flight, format: count},
      {title: '2xx/s', of: (r) => r.rates['2xx'], format: count}, {title: '4xx/s', of: (r) => r.rates['4xx'], format: count},
      {title: '5xx/s', of: (r) => r.rates['5xx'], format: count},
      {title: 'requests', of: (r) => r.requests, format: count},
      {title: 'out/s', of: (r) => r.out, format: bytes},
    ], routeKey, 2),
    listeners: new Table('listeners', 'Listeners', [
      {title: 'listener', text: true, of: (r) => r.listener},
      {title: 'connections', of: (r) => r.connections, format: count},
      {title: 'active', of: (r) => r.active, format: count}, {title: 'idle', of: (r) => r.idle, format: count},
      {title: 'accepted/s', of: (r) => r.rate, format: count}, {title: 'accepted', of: (r) => r.accepted, format: count},
      {title: 'refused', of: (r) => r.refused, format: count},
    ], (r) => r.listener, 1),
    refusals: new Table('refusals', 'Refused and shed', [
      {title: 'what', text: true, of: (r) => r.what},
      {title: 'why', text: true, of: (r) => labels(r, ['what', 'count', 'rate'])},
      {title: 'a second', of: (r) => r.rate, format: count}, {title: 'in all', of: (r) => r.count, format: count},
    ], (r) => r.what + ' ' + labels(r, ['what', 'count', 'rate']), 2),
    memory: new Table('memory', 'Memory', [
      {title: 'what', text: true, of: (r) => r.metric + ' ' + labels(r, ['metric', 'value'])},
      {title: 'value', of: (r) => r.value, format: count}, {title: 'bytes', of: (r) => /_bytes$/.test(r.metric) ? r.value : NaN, format: bytes},
    ], (r) => r.metric + labels(r, ['metric', 'value']), 0),
    leaks: new Table('leaks', 'Leaks', [
      {title: 'what', text: true, of: (r) => r.metric + ' ' + labels(r, ['metric', 'value'])},
      {title: 'fibers', of: (r) => r.value, format: count},
    ], (r) => r.metric + labels(r, ['metric', 'value']), 1),
    contexts: new Table('contexts', 'Contexts', [
      {title: 'place', text: true, of: (r) => r.place},
      {title: 'alive', of: (r) => r.alive, format: count}, {title: 'done', of: (r) => r.done, format: count},
      {title: 'children', of: (r) => r.children, format: count},
      {title: 'oldest', of: (r) => r.oldest_seconds, format: time},
    ], (r) => r.place, 1),
  };
  tables.memory.descending = false;

  // ---- each second
  let before = null;
  const sum = (rows, of) => (rows || []).reduce((all, r) => all + (of(r) || 0), 0);
  const refusalKey = (r) => r.what + ' ' + labels(r, ['what', 'count', 'rate']);
  function show(doc) {
    // A daemon that was started anew counts from the beginning.
    if (before && before.process.pid !== doc.process.pid) before = null;
    const seconds = before ? doc.monotonic_seconds - before.monotonic_seconds : 0;
    if (before && seconds <= 0) return;
    const old = before || {};
    const at = doc.process.now_seconds;
    $('version').textContent = doc.process.version;
    $('process').textContent = 'pid ' + doc.process.pid + ' · up ' + time(doc.process.uptime_seconds) + ' · CPU '
      + percent(rate(doc.process.cpu_seconds, old.process && old.process.cpu_seconds, seconds)) + ' · resident '
      + bytes(doc.process.resident_bytes) + ' · ' + count(doc.process.open_fds) + ' descriptors · ' + count(doc.process.threads) + ' threads';
    document.title = 'fiberd ' + doc.process.pid;

    const oldRoutes = byKey(old.routes, routeKey);
    lowestBound = (doc.latency_bounds || [0])[0];
    const routes = doc.routes.map((r) => {
      const was = oldRoutes.get(routeKey(r)) || {};
      const rates = {};
      for (const c of Object.keys(r.classes)) rates[c] = rate(r.classes[c], was.classes && was.classes[c], seconds);
      const buckets = r.latency ? minus(r.latency.buckets, was.latency && was.latency.buckets) : [];
      const q = (p) => before && r.latency ? quantile(buckets, doc.latency_bounds, p) : r.latency && r.latency['p' + p * 100];
      return {...r, rates, buckets, rate: rate(r.requests, was.requests, seconds), out: rate(r.sent_bytes, was.sent_bytes, seconds),
        p50: q(0.5), p90: q(0.9), p99: q(0.99)};
    });
    tables.routes.show(routes);
    const oldListeners = byKey(old.listeners, (l) => l.listener);
    tables.listeners.show(doc.listeners.map((l) =>
      ({...l, rate: rate(l.accepted, (oldListeners.get(l.listener) || {}).accepted, seconds)})));
    const oldRefusals = byKey(old.refusals, refusalKey);
    const refusals = doc.refusals.map((r) => ({...r, rate: rate(r.count, (oldRefusals.get(refusalKey(r)) || {}).count, seconds)}));
    tables.refusals.show(refusals);
    tables.sites.show(doc.fibers.sites);
    tables.reasons.show(doc.fibers.reasons);
    tables.contexts.show(doc.contexts.places);
    tables.leaks.show(doc.leaks || []);
    tables.memory.show(doc.memory || [{metric: 'process_resident_memory_bytes', value: doc.process.resident_bytes}]);
    $('counted').textContent = 'Counted ' + time(doc.fibers.counted_seconds_ago) + ' ago'
      + (doc.fibers.others ? '; ' + count(doc.fibers.others) + ' fibers of other sites are left out.' : '.');
    $('forgotten').textContent = count(doc.contexts.alive) + ' alive; ' + count(doc.contexts.never_canceled)
      + ' have ended without ever having been cancelled.';

    if (before) {
      const mine = routes;
      const all = mine.length ? mine.map((r) => r.buckets).reduce((a, b) => b.map((n, i) => n + (a[i] || 0)), []) : [];
      charts.requests.add(at, {all: sum(mine, (r) => r.rate), '4xx': sum(mine, (r) => r.rates['4xx']), '5xx': sum(mine, (r) => r.rates['5xx'])});
      const bounds = doc.latency_bounds || [];
      charts.latency.add(at, {p50: quantile(all, bounds, 0.5), p90: quantile(all, bounds, 0.9), p99: quantile(all, bounds, 0.99)});
      const oldLoad = byKey(old.scheduler.processors, (p) => p.processor);
      const load = {};
      for (const p of doc.scheduler.processors) if (oldLoad.has(p.processor))
        load['P' + p.processor] = Math.min(rate(p.busy_seconds, oldLoad.get(p.processor).busy_seconds, seconds), 1);
      charts.load.add(at, load);
      charts.fibers.add(at, {waiting: doc.fibers.waiting, runnable: doc.fibers.runnable, running: doc.fibers.running});
      charts.stacks.add(at, {resident: doc.stacks.resident_bytes, reserved: doc.stacks.reserved_bytes});
      const stalls = {};
      for (const kind of ['computes', 'blocks', 'robbed']) stalls[kind] = rate(doc.stalls[kind], old.stalls[kind], seconds);
      charts.stalls.add(at, stalls);
      const sheds = {};
      for (const r of refusals) sheds[r.what] = (sheds[r.what] || 0) + r.rate;
      charts.sheds.add(at, Object.keys(sheds).length ? sheds : {none: 0});
      charts.connections.add(at, {open: sum(doc.listeners, (l) => l.connections), active: sum(doc.listeners, (l) => l.active),
        idle: sum(doc.listeners, (l) => l.idle)});
    }
    before = doc;
  }

  let paused = false;
  const state = (words, kind) => { $('state').textContent = words; $('state').className = kind; };
  async function look() {
    if (!paused && !document.hidden) {
      try {
        const answer = await fetch('debug/status', {cache: 'no-store', credentials: 'same-origin'});
        if (!answer.ok) throw new Error('the daemon answers ' + answer.status);
        const doc = await answer.json();
        if (doc.schema !== 1) throw new Error('this page knows schema 1, the daemon has ' + doc.schema + ': load it anew');
        show(doc);
        state('live', 'good');
      } catch (e) {
        state('no news: ' + (e.message || e), 'bad');
      }
    }
    setTimeout(look, PERIOD);
  }
  $('pause').addEventListener('click', () => {
    paused = !paused;
    $('pause').setAttribute('aria-pressed', String(paused));
    $('pause').textContent = paused ? 'Go on' : 'Pause';
    if (paused) state('paused', '');
  });
  new ResizeObserver(() => { for (const c of Object.values(charts)) c.resize(); }).observe($('charts'));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    for (const c of Object.values(charts)) if (c.plot) c.draw();
  });

  // ---- what other pages there are
  async function pages() {
    const there = await (await fetch('console/pages.json', {credentials: 'same-origin'})).json();
    for (const path of there) {
      const item = make('li');
      item.append(make('a', path, {href: path.slice(1) || './'}));
      $('pages').append(item);
    }
    for (const place of document.querySelectorAll('[data-page]')) {
      const path = place.dataset.page;
      if (!there.includes(path)) continue;
      const button = make('button', 'Show ' + path, {type: 'button'});
      const pre = make('pre', '', {tabindex: '0', hidden: '', 'aria-label': path});
      button.addEventListener('click', () => {
        pre.hidden = false;
        pre.textContent = '…';
        text(path.slice(1)).then((t) => { pre.textContent = t; }, (e) => { pre.textContent = String(e.message || e); });
      });
      place.append(button, pre);
    }
    const flames = $('flames');
    if (!there.includes('/debug/flame')) {
      flames.append(make('p', 'This daemon draws none.', {class: 'note'}));
      return;
    }
    const drawing = make('img', undefined, {alt: 'Flame graph', hidden: ''});
    for (const [words, query] of [['Of all fibers', '?profile=goroutine'], ['Of the CPU, 5 seconds', '?profile=profile&seconds=5']]) {
      const button = make('button', words, {type: 'button'});
      button.addEventListener('click', () => { drawing.hidden = false; drawing.src = 'debug/flame' + query; });
      flames.append(button, make('a', 'by itself', {href: 'debug/flame' + query, target: '_blank', rel: 'noopener',
        'aria-label': words + ': by itself, with zoom and search'}));
    }
    flames.append(drawing);
  }
  pages().catch((e) => { $('pages').append(make('li', String(e.message || e))); });
  look();
})();

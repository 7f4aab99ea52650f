/* page_text.js: the prompts: colours of the tokens, hover and focus, pin, following a target to its row, keyboard, search. */

const tip = make('div', { class: 'tip', role: 'status', 'aria-live': 'polite', hidden: true });

/* The spans of a line's tokens. A line without a text of its own takes that of the line of the same tokens. */
function spansOf(line) {
  if (line.spans) return line.spans;
  const box = document.querySelector(`#line-${line.index} .tokens`);
  if (!box.querySelector('.run')) {
    const target = box.querySelector('mark');
    for (const run of document.querySelectorAll(`#line-${line.same} .run`)) box.append(run.cloneNode(true));
    for (const old of box.querySelectorAll('.run mark')) old.remove();
    if (target) box.querySelectorAll('.run > span')[Math.min(line.position, line.tokens.length - 1)].after(target);
  }
  line.spans = collect(box);
  return line.spans;
}

function collect(box) {
  const spans = [...box.querySelectorAll('.run > span')];
  spans.forEach((span, t) => { span.at = t; });
  return spans;
}

/* Row of scores that explains token t of the same prompt, preferably by the same scope. */
function leadOf(line, t) {
  const leads = lines.filter((other) => other.same === line.same && other !== line && other.position + 1 === t && other.signed === line.signed);
  return leads.find((other) => other.source.scope === line.source.scope && other.row === line.row) || leads[0];
}

/* Colours spans by values; extra(t): further classes. Returns the scale. */
function colourTokens(spans, line, values, extra) {
  const leftOut = leftOutOf(line.tokens), scale = makeScale(values.subarray(0, line.n), line.diverges, leftOut);
  const letter = line.diverges ? 'd' : 'b';
  for (let t = 0; t < spans.length; t++) {
    let name = t < line.n ? `${letter}${scale.step(values[t])}` : line.in_place && t === line.position + 1 ? 'target' : 'later';
    if (t < line.n && scale.faint(values[t])) name = 'faint';
    if (t < line.n && leftOut(t)) name += ' hatched';
    name += extra(t);
    if (spans[t].className !== name) spans[t].className = name;
  }
  return scale;
}

/* Spaces, line breaks and tabs as signs, or as what they are. */
function markSpaces(spans) {
  for (const span of spans) {
    if (span.plain === undefined) {
      if (!state.marks) continue;
      span.plain = span.textContent;
    }
    const text = state.marks ? span.plain.replace(/ /g, '␣\u200b').replace(/\n/g, '↵\n').replace(/\t/g, '⇥\t') : span.plain;
    if (span.textContent !== text) span.textContent = text;
  }
}

function drawText() {
  const box = root.querySelector('.panels');
  box.classList.toggle('alone', !state.side || lines.length < 2);
  for (const line of lines) {
    const panel = document.getElementById(`line-${line.index}`);
    panel.hidden = !state.side && line.index !== state.line;
    panel.classList.toggle('chosen', lines.length > 1 && line.index === state.line);
    if (panel.hidden) continue;
    const spans = spansOf(line), { values } = ranked(line), first = groupsOf(line.tokens, state.group);
    const leads = new Set(lines.filter((other) => other.same === line.same && leadOf(line, other.position + 1)).map((other) => other.position + 1));
    const pinned = state.pin >= 0 && line.same === lines[state.line].same ? first[state.pin] : -1;
    markSpaces(spans);
    const scale = colourTokens(spans, line, values, (t) => (leads.has(t) ? ' leads' : '') + (first[t] === pinned && t < line.n ? ' pinned' : ''));
    panel.querySelector('.mapping').textContent = scale.note + groupNote(line);
    if (!spans.some((span) => span.hasAttribute('tabindex'))) rove(spans, Math.min(line.position, spans.length - 1));
    const tokens = panel.querySelector('.tokens');
    tokens.setAttribute('role', 'group');
    tokens.setAttribute('aria-label', 'Tokens: arrow keys move, Enter pins');
  }
}

/* ---- what is said about a token ------------------------------------------------------------------------------------------------------ */

function facts(line, t) {
  const first = groupsOf(line.tokens, state.group), { values, groups, order, total } = ranked(line);
  const group = groups.find((g) => g.t === first[t]), token = line.tokens[t];
  const text = group && t < line.n ? line.tokens.slice(group.t, group.end).map(visible).join('') : visible(token);
  const list = [['position', state.group === 'token' || !group ? t : `${group.t} to ${group.end - 1}`], ['id', token.id]];
  if (t >= line.n) return { text, list: [...list, ['', 'after the explained position: no score']] };
  list.push(['score', figure(values[t], 5)]);
  if (line.errors && !Number.isNaN(line.errors[t]) && state.group === 'token') list.push(['± error', figure(line.errors[t], 2)]);
  if (line.minus && state.group === 'token') list.push(['first', figure(line.plus[t])], ['second', figure(line.minus[t])]);
  list.push(['share', `${figure(100 * Math.abs(values[t]) / total, 3)} %`], ['rank', `${group.rank} of ${order.length}`]);
  if (token.linked) list.push(['', 'goes on with the character of the token before']);
  return { text, list };
}

function showTip(line, t, rect) {
  const { text, list } = facts(line, t), lead = leadOf(line, t);
  const items = list.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, String(value))]);
  tip.replaceChildren(make('b', {}, text), make('dl', {}, ...items), ...(lead && state.view === 'text' ? ['click: what explains this token'] : []));
  placeTip(rect);
}

function placeTip(rect) {
  tip.hidden = false;
  const size = tip.getBoundingClientRect();
  const below = rect.bottom + 8 + size.height < innerHeight;
  tip.style.left = `${Math.max(4, Math.min(rect.left, innerWidth - size.width - 8))}px`;
  tip.style.top = `${below ? rect.bottom + 8 : Math.max(4, rect.top - size.height - 8)}px`;
}

function hideTip() {
  tip.hidden = true;
  for (const twin of root.querySelectorAll('.twin')) twin.classList.remove('twin');
}

/* The line, token and spans of an event in a text, or null. */
function tokenAt(event) {
  const span = event.target.closest('.run > span'), box = span && span.closest('.tokens');
  if (!box) return null;
  const line = box.line || lines[Number(box.closest('.panel').id.slice(5))];
  return { line, t: span.at, span, spans: box.spans || spansOf(line), pick: box.pick };
}

function pointAt(at) {
  hideTip();
  for (const other of state.view === 'text' && state.side ? lines : []) // the same token in the texts beside
    if (other !== at.line && other.same === at.line.same && other.spans) other.spans[at.t].classList.add('twin');
  showTip(at.line, at.t, at.span.getClientRects()[0] || at.span.getBoundingClientRect());
}

function showPinned() {
  if (state.view !== 'text' || state.pin < 0) return;
  const span = spansOf(lines[state.line])[state.pin];
  pointAt({ line: lines[state.line], t: state.pin, span });
}

/* Enter or a click: another row's target leads to that row, any other token is pinned. */
function choose(t, line) {
  const lead = leadOf(line, t);
  if (lead) set({ line: lead.index, pin: -1 });
  else set({ line: line.index, pin: state.pin === t && state.line === line.index ? -1 : t });
  const spans = spansOf(lines[state.line]);
  if (document.activeElement && document.activeElement.closest('.run')) moveTo(spans, t);
}

/* ---- events ---------------------------------------------------------------------------------------------------------------------------- */

/* One token of a text is in the tab order. */
function rove(spans, t) {
  for (const span of spans) if (span.hasAttribute('tabindex')) span.removeAttribute('tabindex');
  spans[t].setAttribute('tabindex', '0');
}

function moveTo(spans, t) {
  rove(spans, t);
  spans[t].focus();
}

/* The nearest token on the line of text above (-1) or below (1). */
function neighbour(spans, from, step) {
  const start = spans[from].getBoundingClientRect(), middle = (start.left + start.right) / 2;
  let best = from, nearest = Infinity, row = null;
  for (let t = from + step; t >= 0 && t < spans.length; t += step) {
    const box = spans[t].getBoundingClientRect();
    if (Math.abs(box.top - start.top) < 3) continue;
    if (row === null) row = box.top;
    if (Math.abs(box.top - row) > 3) break;
    const distance = Math.abs((box.left + box.right) / 2 - middle);
    if (distance < nearest) [best, nearest] = [t, distance];
  }
  return best;
}

function onTextKey(event) {
  const at = tokenAt(event);
  if (!at || event.ctrlKey || event.metaKey || event.altKey) return;
  const spans = at.spans, last = spans.length - 1;
  const moves = {
    ArrowRight: () => Math.min(at.t + 1, last), ArrowLeft: () => Math.max(at.t - 1, 0), Home: () => 0, End: () => last,
    ArrowUp: () => neighbour(spans, at.t, -1), ArrowDown: () => neighbour(spans, at.t, 1),
  };
  if (moves[event.key]) moveTo(spans, moves[event.key]());
  else if (event.key === 'Enter' || event.key === ' ') (at.pick || choose)(at.t, at.line);
  else return;
  event.preventDefault();
}

function onTextFocus(event) {
  const at = tokenAt(event);
  if (!at) return;
  const { text, list } = facts(at.line, at.t);
  at.span.setAttribute('role', 'button');
  at.span.setAttribute('aria-pressed', state.pin === at.t);
  at.span.setAttribute('aria-label', [text, ...list.map((pair) => pair.join(' '))].join(', '));
  pointAt(at);
}

function listenToText() {
  const leave = () => { hideTip(); showPinned(); };
  root.addEventListener('mouseover', (event) => { const at = tokenAt(event); if (at) pointAt(at); else leave(); });
  root.addEventListener('mouseleave', leave);
  root.addEventListener('focusin', onTextFocus);
  root.addEventListener('focusout', leave);
  root.addEventListener('keydown', onTextKey);
  root.addEventListener('click', (event) => {
    const at = tokenAt(event), panel = event.target.closest('.panel');
    if (at && getSelection().isCollapsed) (at.pick || choose)(at.t, at.line);
    else if (panel && event.target.closest('h3')) set({ line: Number(panel.id.slice(5)), pin: -1 });
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      set({ pin: -1 });
      controls.search.value = '';
    } else if (event.key === '/' && !/^(input|select|textarea)$/i.test(event.target.tagName)) {
      event.preventDefault();
      controls.search.focus();
    }
  });
  addEventListener('scroll', leave, { passive: true });
}

/* ---- search: from the token after the one found last ------------------------------------------------------------------------------------ */

function makeSearch() {
  let found = -1;
  const search = make('input', { type: 'search', placeholder: 'search: /', 'aria-label': 'Search the prompt' });
  const seek = (from) => {
    const line = lines[state.line], wanted = search.value.toLowerCase(), starts = [];
    let text = '';
    for (const token of line.tokens) {
      starts.push(text.length);
      text += (token.text || '').toLowerCase();
    }
    const inside = from + 1 < starts.length ? text.indexOf(wanted, starts[from + 1]) : -1;
    const at = wanted === '' ? -1 : inside >= 0 ? inside : text.indexOf(wanted);
    found = at < 0 ? -1 : starts.findLastIndex((start) => start <= at);
    search.setCustomValidity(wanted !== '' && found < 0 ? 'not in this prompt' : '');
    if (found < 0) return;
    set({ view: 'text', pin: found });
    spansOf(line)[found].scrollIntoView({ block: 'nearest' });
  };
  search.addEventListener('input', () => seek(-1));
  search.addEventListener('keydown', (event) => { if (event.key === 'Enter') seek(found); });
  Object.defineProperty(controls, 'search', { value: search, enumerable: false }); // no part of the state
  return search;
}

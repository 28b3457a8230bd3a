/** How the page looks: one style sheet for phones, wide screens, the dark and paper. Made of constants alone. */
import { css } from './html.js'

export const styleSheet = css`
  :root {
    color-scheme: light dark;
    --page: #ffffff;
    --panel: #f6f8fa;
    --text: #1b2027;
    --muted: #535c66;
    --line: #cfd6dd;
    --faint: #e6eaee;
    --link: #0a58a6;
    --good: #1a7f37;
    --warn: #8a5a00;
    --bad: #b3261e;
    --calm: #6b7580;
    --blue: #2767b0;
    --violet: #7047b5;
  }
  @media (prefers-color-scheme: dark) {
    :root {
      --page: #10151b;
      --panel: #181f27;
      --text: #e4eaf0;
      --muted: #a2adb8;
      --line: #36404b;
      --faint: #242d37;
      --link: #7cb7ff;
      --good: #4cc26a;
      --warn: #e0ae45;
      --bad: #ff8078;
      --calm: #8d98a4;
      --blue: #6aa8f5;
      --violet: #b494f5;
    }
  }
  *,
  ::before,
  ::after {
    box-sizing: border-box;
  }
  html {
    scroll-padding-top: 1rem;
    -webkit-text-size-adjust: 100%;
    text-size-adjust: 100%;
  }
  body {
    margin: 0 auto;
    padding: 1.5rem 1rem 3rem;
    max-width: 76rem;
    background: var(--page);
    color: var(--text);
    font:
      0.9375rem/1.5 system-ui,
      -apple-system,
      'Segoe UI',
      Roboto,
      'Liberation Sans',
      sans-serif;
    overflow-wrap: anywhere;
  }
  h1 {
    margin: 0;
    font-size: 1.5rem;
    line-height: 1.2;
  }
  h2 {
    margin: 0 0 0.25rem;
    font-size: 1.125rem;
    line-height: 1.3;
  }
  p {
    margin: 0.25rem 0 0.75rem;
    max-width: 75ch;
  }
  a {
    color: var(--link);
  }
  a:focus-visible,
  main:focus-visible {
    outline: 3px solid var(--link);
    outline-offset: 2px;
    border-radius: 2px;
  }
  main:focus {
    outline-offset: 6px;
  }
  code {
    font:
      0.92em/1.4 ui-monospace,
      'Liberation Mono',
      Menlo,
      Consolas,
      monospace;
  }
  small {
    display: block;
    color: var(--muted);
    font-size: 0.8125rem;
    line-height: 1.35;
    font-weight: 400;
  }
  .skip {
    position: absolute;
    left: -100rem;
  }
  .skip:focus {
    position: static;
    display: inline-block;
    margin-bottom: 0.5rem;
  }
  nav ul,
  .legend,
  .concerns {
    list-style: none;
    margin: 0;
    padding: 0;
  }
  nav ul {
    display: flex;
    flex-wrap: wrap;
    gap: 0.125rem 1rem;
  }
  nav a {
    display: inline-block;
    padding: 0.25rem 0;
  }
  section {
    margin-top: 2.25rem;
    padding-top: 1rem;
    border-top: 1px solid var(--line);
  }
  .lead,
  .note,
  .empty {
    color: var(--muted);
  }
  .empty {
    padding: 0.75rem 1rem;
    background: var(--panel);
    border-radius: 4px;
    max-width: none;
  }
  .fine {
    color: var(--good);
    font-weight: 600;
  }
  .mark {
    font-weight: 600;
    white-space: nowrap;
  }
  .mark.succeeded {
    color: var(--good);
  }
  .mark.partial,
  .mark.cancelled,
  .mark.warning {
    color: var(--warn);
  }
  .mark.failed,
  .mark.timed-out,
  .mark.error,
  .mark.critical {
    color: var(--bad);
  }
  .mark.skipped,
  .mark.info {
    color: var(--muted);
  }
  .concerns li {
    padding: 0.5rem 0.75rem;
    margin-bottom: 0.375rem;
    background: var(--panel);
    border-left: 4px solid var(--line);
  }
  .tiles {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr));
    gap: 0.75rem;
    margin: 0.5rem 0 0;
  }
  .tile {
    padding: 0.625rem 0.75rem;
    background: var(--panel);
    border-radius: 4px;
  }
  .tile dt {
    color: var(--muted);
    font-size: 0.8125rem;
  }
  .tile dd {
    margin: 0;
  }
  .tile b {
    display: block;
    font-size: 1.375rem;
    line-height: 1.3;
    font-weight: 600;
    font-variant-numeric: tabular-nums;
  }
  .tile span {
    display: block;
    color: var(--muted);
    font-size: 0.8125rem;
    line-height: 1.35;
  }
  svg {
    display: block;
    width: 100%;
  }
  .grid {
    stroke: var(--faint);
    stroke-width: 1;
    vector-effect: non-scaling-stroke;
  }
  .ground {
    stroke: var(--line);
    stroke-width: 1;
    vector-effect: non-scaling-stroke;
  }
  .succeeded {
    fill: var(--good);
  }
  .partial,
  .cancelled {
    fill: var(--warn);
  }
  .failed,
  .timed-out {
    fill: var(--bad);
  }
  .skipped {
    fill: var(--calm);
  }
  .legend {
    display: flex;
    flex-wrap: wrap;
    gap: 0.25rem 1.125rem;
    margin-bottom: 0.75rem;
    color: var(--muted);
    font-size: 0.8125rem;
  }
  .legend li {
    display: flex;
    align-items: end;
    gap: 0.375rem;
  }
  .swatch {
    width: 0.5rem;
    height: 1.125rem;
    flex: none;
  }
  .swatch.nothing {
    border-bottom: 1px solid var(--line);
  }
  .lane {
    display: grid;
    grid-template-columns: 9rem 1fr;
    gap: 0 0.75rem;
    align-items: end;
    margin-bottom: 0.5rem;
  }
  .lane .name {
    line-height: 1.25;
  }
  .lane.whole {
    padding-bottom: 0.375rem;
    border-bottom: 1px solid var(--faint);
    font-weight: 600;
  }
  .strip {
    height: 1.5rem;
  }
  .axis {
    position: relative;
    display: grid;
    grid-template-columns: repeat(4, 1fr);
    color: var(--muted);
    font-size: 0.75rem;
    line-height: 1.3;
    padding-top: 0.25rem;
    font-variant-numeric: tabular-nums;
  }
  .axis span:nth-child(4) {
    padding-right: 2rem;
  }
  .axis .end {
    position: absolute;
    right: 0;
    bottom: 0;
  }
  figure {
    margin: 0.75rem 0 1rem;
  }
  figcaption {
    margin-bottom: 0.375rem;
    font-variant-numeric: tabular-nums;
  }
  figcaption small {
    display: inline;
  }
  .pair {
    display: grid;
    grid-template-columns: 1fr 1fr;
    gap: 0 2rem;
  }
  .plot {
    display: grid;
    grid-template-columns: 4.5rem 1fr;
    gap: 0 0.5rem;
  }
  .plot svg {
    height: 7rem;
  }
  .scale {
    display: flex;
    flex-direction: column;
    justify-content: space-between;
    text-align: right;
    color: var(--muted);
    font-size: 0.75rem;
    line-height: 1;
    font-variant-numeric: tabular-nums;
    white-space: nowrap;
  }
  .bars rect {
    fill: var(--blue);
  }
  .bars.deleted rect {
    fill: var(--violet);
  }
  .area {
    fill: var(--blue);
    fill-opacity: 0.14;
  }
  .band {
    fill: var(--violet);
    fill-opacity: 0.18;
  }
  .line {
    fill: none;
    stroke: var(--blue);
    stroke-width: 2;
    vector-effect: non-scaling-stroke;
    stroke-linejoin: round;
  }
  .ahead {
    stroke: var(--violet);
    stroke-width: 2;
    stroke-dasharray: 5 4;
    vector-effect: non-scaling-stroke;
  }
  .spark {
    display: grid;
    grid-template-columns: 1fr auto;
    gap: 0 0.375rem;
    min-width: 9rem;
  }
  .spark svg {
    height: 2rem;
  }
  .spark .scale {
    font-size: 0.6875rem;
    text-align: left;
  }
  table {
    border-collapse: collapse;
    width: 100%;
    margin-top: 0.5rem;
    font-size: 0.875rem;
  }
  caption {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  th,
  td {
    padding: 0.375rem 0.5rem;
    text-align: left;
    vertical-align: top;
  }
  th:first-child {
    padding-left: 0;
  }
  td:last-child,
  th:last-child {
    padding-right: 0;
  }
  thead th {
    color: var(--muted);
    font-weight: 600;
    font-size: 0.8125rem;
    vertical-align: bottom;
    line-height: 1.3;
    overflow-wrap: normal;
  }
  tbody th {
    font-weight: 600;
    min-width: 6rem;
  }
  tbody tr {
    border-top: 1px solid var(--faint);
  }
  .number {
    text-align: right;
    font-variant-numeric: tabular-nums;
    white-space: nowrap;
  }
  td small {
    white-space: normal;
  }
  details {
    margin-top: 0.5rem;
  }
  summary {
    padding: 0.25rem 0;
    color: var(--link);
    cursor: pointer;
  }
  summary:focus-visible {
    outline: 3px solid var(--link);
    outline-offset: 2px;
  }
  td.wide {
    width: 34%;
    min-width: 9rem;
  }
  footer {
    margin-top: 2.5rem;
    border-top: 1px solid var(--line);
    color: var(--muted);
    font-size: 0.8125rem;
  }
  @media (max-width: 60rem) {
    .pair {
      grid-template-columns: 1fr;
    }
    table,
    tbody,
    tr,
    td,
    tbody th {
      display: block;
      width: auto;
    }
    thead {
      position: absolute;
      width: 1px;
      height: 1px;
      overflow: hidden;
      clip-path: inset(50%);
    }
    tbody {
      display: grid;
      grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr));
      gap: 0.75rem;
    }
    tbody tr {
      display: grid;
      grid-template-columns: 1fr 1fr;
      align-content: start;
      gap: 0.25rem 1rem;
      border: 0;
      background: var(--panel);
      border-radius: 4px;
      padding: 0.625rem 0.75rem;
    }
    tbody th,
    td.wide {
      grid-column: 1 / -1;
    }
    tbody th,
    td,
    td.wide {
      min-width: 0;
      padding: 0;
    }
    td.wide {
      width: auto;
    }
    td::before {
      content: attr(data-label);
      display: block;
      color: var(--muted);
      font-size: 0.75rem;
      line-height: 1.3;
    }
    .number {
      text-align: left;
      white-space: normal;
    }
    .spark {
      min-width: 0;
    }
  }
  @media (max-width: 40rem) {
    body {
      padding: 1rem 0.75rem 2rem;
    }
    .tiles {
      grid-template-columns: 1fr 1fr;
      gap: 0.5rem;
    }
    .lane {
      grid-template-columns: 1fr;
    }
    .plot {
      grid-template-columns: 3.75rem 1fr;
    }
    .axis {
      font-size: 0.6875rem;
    }
  }
  @media (forced-colors: active) {
    svg {
      forced-color-adjust: none;
      background: #ffffff;
    }
  }
  @media print {
    :root {
      --page: #ffffff;
      --panel: #ffffff;
      --text: #000000;
      --muted: #444444;
      --line: #999999;
      --faint: #dddddd;
      --link: #000000;
      --good: #1a7f37;
      --warn: #8a5a00;
      --bad: #b3261e;
      --calm: #6b7580;
      --blue: #2767b0;
      --violet: #7047b5;
    }
    body {
      max-width: none;
      padding: 0;
      font-size: 9pt;
      print-color-adjust: exact;
      -webkit-print-color-adjust: exact;
    }
    nav,
    .skip {
      display: none;
    }
    section {
      margin-top: 1rem;
    }
    h2 {
      break-after: avoid;
    }
    details::details-content {
      content-visibility: visible;
      block-size: auto;
    }
    tr,
    figure,
    .lane,
    .tile,
    .concerns li {
      break-inside: avoid;
    }
  }
`

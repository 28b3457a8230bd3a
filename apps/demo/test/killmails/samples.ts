/** Small killmails in each accepted form, made for these tests. */

export const esi = {
  killmail_id: 101,
  killmail_hash: 'ab'.repeat(20),
  killmail_time: '2024-03-05T19:30:00Z',
  solar_system_id: 30001111,
  victim: {
    alliance_id: 99000011,
    character_id: 2113000001,
    corporation_id: 98000021,
    damage_taken: 500,
    ship_type_id: 600,
    items: [{ flag: 5, item_type_id: 700, quantity_destroyed: 1, singleton: 0 }],
    position: { x: 1.5, y: -2.5, z: 3 },
  },
  attackers: [
    {
      character_id: 2113000002,
      corporation_id: 98000022,
      alliance_id: 99000012,
      damage_done: 400,
      final_blow: true,
      security_status: -3.5,
      ship_type_id: 601,
      weapon_type_id: 3000,
    },
    { corporation_id: 1000125, damage_done: 100, final_blow: false, security_status: 0, ship_type_id: 602 },
  ],
}

/** Capsule lost by a pilot to two others, as exports of 2014 have it: names, no ids. */
export const region = {
  killmail_id: -202,
  killmail_time: '2014-01-20T20:15:00Z',
  solar_system_id: 30002222,
  victim: { ship: 'Capsule', damage_taken: 40 },
  attackers: [
    { ship: 'Merlin', weapon: 'Light Neutron Blaster II', damage_done: 40, player: true },
    { ship: 'Sentry Gun', weapon: 'Sentry Gun', damage_done: 0, player: false },
  ],
}

const zkb = {
  locationID: 40000001,
  hash: 'cd'.repeat(20),
  fittedValue: 10,
  totalValue: 1234.56,
  points: 1,
  npc: false,
  solo: false,
  awox: false,
}

export const zkillboard = { ...esi, killmail_id: 303, zkb }
/** What zKillboard's API gives today: the id and its own block. */
export const valueOnly = { killmail_id: 101, zkb }
export const queued = { package: { killID: 404, killmail: { ...esi, killmail_id: 404 }, zkb } }

/** Which relations the options choose. Pure. */
export { chosenRelations, isAmongRelations } from '@battlescope/database'
